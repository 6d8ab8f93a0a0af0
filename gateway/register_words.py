"""What people read at the register's commands and forms, in English and Chinese, side by side."""

from __future__ import annotations

from gateway.words import Language, language

WORDS: dict[str, tuple[str, str]] = {
    # form: what went wrong with an answer
    "form.needed": ("an answer is needed here", "此项必填"),
    "form.number": (
        "'{value}' is not a number; write it with a point: 0.12",
        "“{value}”不是数字；请用小数点书写：0.12",
    ),
    "form.whole": ("'{value}' is not a whole number", "“{value}”不是整数"),
    "form.long": ("{value} is longer than a century", "{value} 超过一百年"),
    "form.date": ("'{value}' is not a date; write 2026-05-01", "“{value}”不是日期；请写成 2026-05-01"),
    "form.choice": ("'{value}' is none of: {choices}", "“{value}”不在可选项中：{choices}"),
    "form.yesno": ("'{value}': answer yes or no", "“{value}”：请回答 yes 或 no（是 / 否）"),
    "form.ratio": ("'{value}' is no ratio; write 2000/5, or 400", "“{value}”不是变比；请写成 2000/5 或 400"),
    "form.reference": (
        "'{value}': write STANDARD, then its certificate's number and its share if the paper states them",
        "“{value}”：请写 标准器编号，然后是其证书编号与分量（若证书列出）",
    ),
    "form.unknown": (
        "there is no field '{value}'; there are: {choices}",
        "没有字段“{value}”；可用字段：{choices}",
    ),
    # guided entry
    "entry.how": (
        "Enter takes what stands in brackets; '-' leaves empty, '<' goes back. Ctrl-C keeps what was typed.",
        "回车采用方括号内的值；“-”留空，“<”返回上一项。按 Ctrl-C 中止，已输入的内容会保留。",
    ),
    "entry.lines": (
        "one line each (paste from Excel), an empty line ends:",
        "每行一条（可从 Excel 粘贴），空行结束：",
    ),
    "entry.example": ("for example {example}", "例如 {example}"),
    "entry.again": ("once more, please", "请重新输入"),
    "entry.draft": (
        "There is a draft with {count} answers, kept in {path}. Go on with it? [yes]",
        "发现草稿（{count} 项），保存在 {path}。继续填写？[yes]",
    ),
    "entry.aside": ("the draft was put aside: {path}", "草稿已另存：{path}"),
    "entry.kept": ("stopped; what was typed is kept in {path}", "已中止；已输入的内容保存在 {path}"),
    "entry.save": (
        "Save? yes, no (keeps the draft), or the number of a field to change [yes]",
        "保存？yes 保存，no 不保存（保留草稿），或输入要修改的序号 [yes]",
    ),
    "entry.whole": ("This is the whole:", "全部内容："),
    "entry.line.refused": ("this line was not taken; write it once more:", "该行未被采用；请重新输入："),
    "entry.not.saved": ("not saved yet:", "尚未保存："),
    # commands
    "made.instrument": ("registered: instrument {id}", "已登记仪器：{id}"),
    "made.instruments": ("registered: {count} instruments", "已登记 {count} 台仪器"),
    "changed.instrument": ("changed: instrument {id}", "已修改仪器：{id}"),
    "made.certificate": ("registered: certificate {id} of {instrument}", "已登记证书：{id}（{instrument}）"),
    "seen.instrument": ("already registered, the same: {id}", "已登记且内容一致：{id}"),
    "withdrawn": ("withdrawn: {id}", "已撤销：{id}"),
    "installed": (
        "{instrument} is at {point} ({role}) since {since}",
        "{instrument} 自 {since} 起安装在 {point}（{role}）",
    ),
    "removed": (
        "{instrument} was taken from {point} ({role}) at {at}",
        "{instrument} 已于 {at} 从 {point}（{role}）拆除",
    ),
    "replaced": (
        "{point} ({role}): {old} was replaced by {new} at {at}",
        "{point}（{role}）：{old} 已于 {at} 更换为 {new}",
    ),
    "written": ("written: {path}", "已写入：{path}"),
    "chain.preview": ("its traceability chain as of {at}: {status}", "其溯源链（{at}）：{status}"),
    "signature": ("signature: {verdict} {basis}", "签名：{verdict} {basis}"),
    "signature.untrusted": (
        "the signature could not be trusted ({verdict}: {reason}); the verdict is kept with the certificate",
        "签名不可信（{verdict}：{reason}）；结论已随证书保存",
    ),
    "signature.refused": (
        "{file}: nothing was registered: the signature is {verdict}: {reason}",
        "{file}：未登记：签名为 {verdict}：{reason}",
    ),
    "toml.points.only": (
        "a CSV holds the points only; .xlsx, .toml and .xml hold the whole",
        "CSV 只含校准点；.xlsx、.toml、.xml 含全部内容",
    ),
    "none.found": ("none", "无"),
    "due.summary": (
        "{count} listed, {overdue} overdue or never calibrated",
        "共 {count} 项，其中 {overdue} 项已过期或从未校准",
    ),
    # what a register holds as a word, where people read it; it is typed and stored as the English one
    "value.meter": ("meter", "电能表"),
    "value.ct": ("ct", "电流互感器"),
    "value.pt": ("pt", "电压互感器"),
    "value.analyser": ("analyser", "分析仪"),
    "value.flow": ("flow", "流量"),
    "value.temperature": ("temperature", "温度"),
    "value.pressure": ("pressure", "压力"),
    "value.analogue_input": ("analogue_input", "模拟输入"),
    "value.reference_standard": ("reference_standard", "参考标准"),
    "value.other": ("other", "其他"),
    "value.calibration": ("calibration", "校准"),
    "value.verification": ("verification", "检定"),
    "value.test": ("test", "测试"),
    "value.yes": ("yes", "是"),
    "value.no": ("no", "否"),
    "value.register": ("registered", "登记"),
    "value.change": ("changed", "更正"),
    "value.withdraw": ("withdrawn", "停用或撤销"),
    "value.check signature": ("signature checked", "核验签名"),
    "due.days": ("{days} days", "{days} 天"),
    # tables
    "head.id": ("id", "编号"),
    "head.kind": ("kind", "类别"),
    "head.instrument": ("instrument", "仪器"),
    "head.model": ("model", "型号"),
    "head.serial": ("serial", "出厂编号"),
    "head.class": ("class", "等级"),
    "head.place": ("place", "地点"),
    "head.performed": ("performed", "校准日期"),
    "head.due": ("due", "到期"),
    "head.left": ("left", "剩余"),
    "head.state": ("state", "状态"),
    "head.laboratory": ("laboratory", "实验室"),
    "head.certificate": ("certificate", "证书"),
    "head.limit": ("MPE", "最大允许误差"),
    "head.decision": ("decision", "判定"),
    "head.from": ("from", "起"),
    "head.to": ("to", "止"),
    "head.via": ("through", "经由"),
    "head.level": ("level", "级"),
    "head.point": ("operating point", "工作点"),
    "head.drift": ("drift per year", "年漂移"),
    "head.reaches": ("reaches the MPE", "达到最大允许误差"),
    "head.entry": ("log entry", "日志条目"),
    "head.measurand": ("measurand", "被测量"),
    "head.value": ("value", "数值"),
    "head.effect": ("effect", "影响"),
    "head.corrected": ("should have been", "应为"),
    "show.papers": ("papers", "附件"),
    "show.history": ("history", "历史"),
    "show.points": ("points", "校准点"),
    "show.as_found": ("as found (before adjustment)", "调整前（as found）"),
    "show.references": ("reference standards", "参考标准"),
    "show.findings": ("found out of tolerance", "超差记录"),
    "show.certificates": ("certificates", "证书"),
    "show.places": ("measuring points", "测量点"),
    "show.withdrawn": ("withdrawn {at} by {by}: {reason}", "已撤销 {at}（{by}）：{reason}"),
    # affected
    "affected.reach": (
        "{subject}, wrong from {first} to {last}: {count} calibrations lean on it",
        "{subject} 在 {first} 至 {last} 有误：{count} 次校准依赖于它",
    ),
    "affected.rows": (
        "{readings} readings and {aggregates} aggregates of {origin} are affected",
        "{origin}：受影响读数 {readings} 个、汇总 {aggregates} 个",
    ),
    "affected.total": ("{kind} of {measurand}: {effect} in all", "{kind} {measurand}：合计 {effect}"),
    "affected.unsettled": (
        "{count} of them are bounds or have to be computed again",
        "其中 {count} 个为上界或须重新计算",
    ),
    "affected.unverified": (
        "read as it stands: verify it first (suyuan verify)",
        "按原样读取：请先核验（suyuan verify）",
    ),
    "affected.more": ("… and {count} more; --json has them all", "……另有 {count} 行；--json 给出全部"),
    "reading": ("reading", "读数"),
    "aggregate": ("aggregate", "汇总"),
    "still": ("still", "至今"),
    # interval
    "interval.now": (
        "{instrument}: interval in force {days} days ({because})",
        "{instrument}：现行间隔 {days} 天（{because}）",
    ),
    "interval.agreed": ("agreed", "约定"),
    "interval.certified": ("as certified", "按证书"),
    "interval.observed": ("between the last two calibrations", "最近两次校准之间"),
    "interval.suggest": ("{method}: {days} days: {because}", "{method}：{days} 天：{because}"),
    "interval.method-staircase": ("staircase", "阶梯法"),
    "interval.method-control chart": ("control chart", "控制图法"),
    "interval.method-RP-1 A3": ("RP-1 A3", "RP-1 A3 法"),
    "interval.none": (
        "{instrument} has no certificate: register one first (suyuan certificate add)",
        "{instrument} 尚无证书：请先登记（suyuan certificate add）",
    ),
    "interval.unknown": (
        "{instrument}: no interval is agreed or certified; agree one: {command}",
        "{instrument}：既未约定间隔，证书也未规定；请约定：{command}",
    ),
    "interval.no_mpe": (
        "no calibration of {model} has points with a known MPE",
        "{model} 的校准均无已知最大允许误差的校准点",
    ),
    "interval.keep": ("nothing suggests another interval", "无须调整间隔"),
    "interval.few": (
        "a drift chart needs two calibrations with the same point on different days",
        "漂移图需要不同日期的两次校准有相同的校准点",
    ),
    "interval.significant": ("significant", "显著"),
    "interval.scatter": ("within its uncertainty", "在不确定度之内"),
    # label
    "label.due": ("due", "到期"),
    "label.serial": ("serial", "出厂编号"),
    "label.check": ("check", "校验码"),
    "label.none": ("no date", "无日期"),
}


def told(key: str, spoken: Language | None = None, /, **values: object) -> str:
    """The words in the reader's language, placeholders filled. An unknown key is a bug: KeyError."""
    english, chinese = WORDS[key]
    return (chinese if (spoken or language()) == "zh" else english).format(**values)


def worded(value: object) -> str:
    """A word of the register in the reader's language; whatever else it is, as it stands."""
    key = f"value.{value}"
    return told(key) if key in WORDS else str(value)
