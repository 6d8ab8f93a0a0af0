"""What people read, in English and Chinese (terms after VIM and JJF 1001).

One table, one entry a phrase: both languages stand side by side, so neither can be forgotten. A test holds that both
have the same placeholders.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

Language = Literal["en", "zh"]

PHRASES: dict[str, tuple[str, str]] = {
    "parser.usage": ("usage: ", "用法："),
    "parser.arguments": ("arguments", "参数"),
    "parser.options": ("options", "选项"),
    "parser.help": ("show this help and end", "显示本帮助并退出"),
    "parser.error": ("error", "错误"),
    "cli.no_command": ("there is no command '{name}'", "没有命令“{name}”"),
    "cli.no_package": (
        "this needs the package '{package}', which is not installed",
        "需要软件包“{package}”，但未安装",
    ),
    "cli.install": (
        "install the product with its extras: pip install 'suyuan[all]'; for a platform on PostgreSQL 'suyuan[all,platform]'",
        "请安装产品及其附加项：pip install 'suyuan[all]'；PostgreSQL 平台用 'suyuan[all,platform]'",
    ),
    # states of a site
    "init.done": ("written: {site} and its certificates", "已写入：{site} 及其证书"),
    "init.next": (
        "next:\n  suyuan sim {site} &\n  suyuan check {site}\n  suyuan run {site}",
        "下一步：\n  suyuan sim {site} &\n  suyuan check {site}\n  suyuan run {site}",
    ),
    "check.pushed": (
        "bus {bus}: instruments send by themselves, {port}",
        "总线 {bus}：仪器主动上送，{port}",
    ),
    "check.good": (
        "{file}: good: {buses} buses, {instruments} instruments",
        "{file}：正确：{buses} 条总线，{instruments} 台仪器",
    ),
    "check.key_unseen": (
        "the log's key in {data} cannot be looked at by you: whether it can sign is not known",
        "您无权查看 {data} 中的日志密钥：无法确定其能否签名",
    ),
    "check.key_unseen_hint": (
        "ask as the user that runs the agent, or as root",
        "请以运行代理的用户或 root 身份检查",
    ),
    "check.warning": ("warning", "警告"),
    # a meter that gives no readings
    "silence.begun": (
        "{instrument} (bus {line}, address {address}): no reading in {polls} polls [{cause}]: {advice}",
        "{instrument}（总线 {line}，地址 {address}）：连续 {polls} 次采集无读数 [{cause}]：{advice}",
    ),
    "silence.over": (
        "{instrument}: it reads again, after {polls} polls without a reading",
        "{instrument}：恢复读数，此前 {polls} 次采集无读数",
    ),
    "silence.timeout": (
        "nothing answers. Has it power? Is it wired to this line, A and B not swapped? Are its address, baud rate and framing those of the site file?",
        "无应答。是否通电？是否接在本总线上、A/B 未接反？地址、波特率、校验位是否与现场文件一致？",
    ),
    "silence.corrupt": (
        "what comes is damaged. Are its baud rate and framing those of the site file? Have two meters one address? Look at termination and shield too",
        "收到的数据已损坏。波特率与校验位是否与现场文件一致？是否有两台表地址相同？并检查终端电阻与屏蔽层",
    ),
    "silence.mismatch": (
        "another answers than was asked. Has another program this line? Does a converter or a repeater send late or twice?",
        "应答与询问不符。本总线是否另有主站？转换器或中继器是否迟发或重发？",
    ),
    "silence.link_down": (
        "the line itself cannot be reached. Is the adapter plugged in, the converter powered, its address right?",
        "总线不可达。适配器是否插好，转换器是否通电、地址是否正确？",
    ),
    "silence.error_answer": (
        "it answers that it does not have what is asked for. Is its profile the right one?",
        "仪表答复无所询数据。仪表配置是否选对？",
    ),
    "silence.other": (
        "what it answers is no value. `suyuan read` (agent stopped) shows its bytes; is its profile the right one?",
        "应答不成为数值。停止代理后用 `suyuan read` 查看报文；仪表配置是否选对？",
    ),
    # an uncertainty budget
    "budget.input": ("input", "输入量"),
    "budget.value": ("value", "估计值"),
    "budget.dist": ("distribution", "分布"),
    "budget.dist-normal": ("normal", "正态"),
    "budget.dist-uniform": ("rectangular", "均匀"),
    "budget.dist-triangular": ("triangular", "三角"),
    "budget.dist-arcsine": ("arcsine", "反正弦"),
    "budget.dist-trapezoidal": ("trapezoidal", "梯形"),
    "budget.dist-curvilinear-trapezoidal": ("curvilinear trapezoid", "曲边梯形"),
    "budget.u": ("u", "u"),
    "budget.dof": ("ν", "ν"),
    "budget.sensitivity": ("c", "灵敏系数 c"),
    "budget.contribution": ("c·u", "c·u"),
    "budget.share": ("share %", "占比 %"),
    "budget.method-gum": ("propagation, JCGM 100", "GUM 法，JJF 1059.1"),
    "budget.method-mc": ("Monte Carlo, JCGM 101", "蒙特卡洛法，JJF 1059.2"),
    "budget.interval": ("{p} % interval: {lo} … {hi} ({method})", "{p} % 包含区间：{lo} … {hi}（{method}）"),
    "budget.agrees": (
        "propagation (JCGM 100) agrees: end points {d_low} and {d_high} apart, at most {delta} (JCGM 101 8.1)",
        "GUM 法与之一致：区间端点之差为 {d_low} 与 {d_high}，不超过 {delta}（JCGM 101 8.1）",
    ),
    "budget.disagrees": (
        "propagation (JCGM 100) does not agree: end points {d_low} and {d_high} apart, more than {delta} (JCGM 101 8.1)",
        "GUM 法与之不一致：区间端点之差为 {d_low} 与 {d_high}，超过 {delta}（JCGM 101 8.1）",
    ),
    "budget.result": (
        "result: {name} = ({y} ± {expanded}){unit}, k = {k}, p = {p} %",
        "测量结果：{name} = ({y} ± {expanded}){unit}，k = {k}，p = {p} %",
    ),
    "budget.one-sided": (
        "result: {name} = {y}{unit}, interval [{lo}, {hi}]{unit}, p = {p} % (not symmetric: no ± U)",
        "测量结果：{name} = {y}{unit}，包含区间 [{lo}, {hi}]{unit}，p = {p} %（不对称，不以 ± U 表示）",
    ),
    "budget.exact": (
        "result: {name} = {y}{unit}; by propagation it has no uncertainty",
        "测量结果：{name} = {y}{unit}；按传播律无不确定度",
    ),
    "budget.note": ("note: {note}", "注：{note}"),
    "check.budget": ("bus {bus}: line time used {share} % of the period", "总线 {bus}：占用周期的 {share} %"),
    "check.freeze": (
        "bus {bus}: orders its {count} meters to freeze (a WRITE) every {period} s, allowed by {by} on {on}: {values}",
        "总线 {bus}：每 {period} s 向 {count} 台仪表广播冻结命令（写操作），批准人 {by}，日期 {on}：{values}",
    ),
    "check.state": (
        "{instrument}: {certificates}, state {digest}",
        "{instrument}：{certificates}，校准状态 {digest}",
    ),
    "port.moves": (
        (
            "{port} is whatever adapter was found first at this start: when it is plugged again, or two are found in another "
            "order, the name is another line's"
        ),
        "{port} 只是本次启动时最先发现的适配器：重新插拔或发现顺序改变后，该名称可能指向另一条总线",
    ),
    "port.lasting": (
        "write a name that stays: {name} (ls -l /dev/serial/by-id /dev/serial/by-path; deploy/systemd has a udev rule)",
        "请改用固定名称：{name}（ls -l /dev/serial/by-id /dev/serial/by-path；deploy/systemd 附有 udev 规则）",
    ),
    "check.none": ("no certificate: indications only, no results", "无证书：只有示值，没有测量结果"),
    # run
    "run.key": ("log {origin}, key {key}", "日志 {origin}，公钥 {key}"),
    "run.serving": ("serving checkpoint and tiles at {url}", "在 {url} 提供检查点与数据块"),
    "run.unreachable": (
        "ports that cannot be opened: {count}. Their instruments are missing until they can; the others are read",
        "无法打开的端口：{count} 个。在其恢复之前，所接仪器记为缺失；其余照常采集",
    ),
    "run.listen": (
        "does another agent run on this box, or has another program the port? Set [serve] listen to a free one",
        "本机是否已有采集代理在运行，或端口被其他程序占用？请将 [serve] listen 改为空闲地址",
    ),
    "stopping.left": ("left behind, it does not end: {what}", "不能自行结束，已放弃等待：{what}"),
    "stopping.forced": (
        "ended {seconds} s after it was asked to stop, with this not done: {what}",
        "收到停止指令 {seconds} 秒后强制结束，未完成：{what}",
    ),
    "run.not_sealed": (
        "the log was not sealed: what was read since the last commit is missing, and the next start says so",
        "日志未封存：最后一次提交之后的读数缺失，下次启动时会记明",
    ),
    "run.enrolled": (
        "enrolled: the agent begins anew, with its certificate and the platforms' keys",
        "登记完成：采集代理以证书与平台公钥重新开始运行",
    ),
    "run.stopped": (
        "stopped: {entries} entries in the log, checkpoint signed",
        "已停止：日志 {entries} 条，检查点已签名",
    ),
    "run.stopped_unsigned": (
        (
            "stopped: {entries} entries in the log, a checkpoint over {signed} of them: the rest is signed when there is room "
            "on the disk, and the key's device answers"
        ),
        "已停止：日志 {entries} 条，检查点只覆盖其中 {signed} 条：其余待磁盘有空间、密钥设备恢复应答后签名",
    ),
    "enrol.fingerprint": ("fingerprint of {origin}: {fingerprint}", "{origin} 的指纹：{fingerprint}"),
    "enrol.compare": (
        "read it to the platform's operator by telephone, or let them scan it: it must not go with the application",
        "请以电话向平台操作员读出指纹，或让其扫码：指纹不得与申请走同一途径",
    ),
    "enrol.waiting": (
        "the platform has the application; it waits for the operator's approval",
        "平台已收到申请，等待操作员批准",
    ),
    "enrol.done": (
        "enrolled: certificate valid until {until}, in {directory}; a running agent takes it up by itself",
        "登记完成：证书有效期至 {until}，存于 {directory}；运行中的采集代理会自动启用",
    ),
    "enrol.later": ("stopped; ask again with the same command", "已中止；可用同一命令再次查询"),
    "gateways.serving": ("gateways enrol at {url}", "网关登记入口：{url}"),
    "gateways.approved": ("{origin}: approved", "{origin}：已批准"),
    "gateways.expected": (
        "{origin}: nothing waits under this fingerprint yet; it is approved as soon as the gateway asks",
        "{origin}：尚无此指纹的申请；网关一经申请即自动批准",
    ),
    "gateways.expected_other": (
        (
            "{origin}: what waits under this origin has another fingerprint: {theirs}. Compare again; for a mistyped one: "
            "suyuan gateways approve {origin} with the right one"
        ),
        "{origin}：该标识下等候的申请指纹不同：{theirs}。请重新核对；若系输错，请用正确的指纹再次执行 suyuan gateways approve {origin}",
    ),
    "gateways.active": ("active", "启用"),
    "gateways.inactive": ("suspended", "暂停"),
    "gateways.awaited": ("expected", "预批"),
    "gateways.waiting": ("waiting", "待批"),
    "gateways.until": ("certificate until {until}", "证书有效期至 {until}"),
    "gateways.unissued": ("certificate not issued", "证书未签发"),
    "gateways.at": ("at {addresses}", "地址 {addresses}"),
    "gateways.from": ("from {source}", "来自 {source}"),
    "gateways.asked": ("asked {asked} UTC", "申请于 {asked} UTC"),
    "gateways.key_until": ("until {day}", "至 {day}"),
    "gateways.registered": ("registered", "已登记"),
    "gateways.application": ("application", "登记申请"),
    "gateways.entry": ("entry {entry}", "第 {entry} 条"),
    "gateways.which": (
        "{action} which? See: suyuan gateways --help",
        "{action} 哪一个？请看：suyuan gateways --help",
    ),
    "gateways.days": ("--days: from 1 to 3650", "--days：1 至 3650"),
    "gateways.which_certificate": (
        "which certificate? suyuan gateways certificate ORIGIN FILE.pem --store DIR",
        "哪一份证书？suyuan gateways certificate ORIGIN FILE.pem --store DIR",
    ),
    "gateways.address": (
        "{address}: write HOST:PORT, for example 0.0.0.0:8444",
        "{address}：请写成 HOST:PORT，例如 0.0.0.0:8444",
    ),
    "gateways.no_certificate": (
        "give the server's --certificate: suyuan platform ca issue makes one",
        "请用 --certificate 给出服务器证书：可由 suyuan platform ca issue 签发",
    ),
    # why an enrolment is refused: the English is also what the gateway is told
    "refused.no_fingerprint": (
        "a fingerprint has 20 digits: suyuan enrol shows it on the gateway",
        "指纹为 20 位十六进制数字：在网关上执行 suyuan enrol 即可显示",
    ),
    "refused.registered": (
        "{origin} is registered already, with the key {fingerprint}",
        "{origin} 已登记，公钥指纹 {fingerprint}",
    ),
    "refused.compare": (
        (
            "compare the fingerprint with what the technician reads from the gateway, then give it with --fingerprint; the "
            "application's is {fingerprint}, given was {told}"
        ),
        "请与技术人员从网关读出的指纹核对后用 --fingerprint 给出；申请的指纹为 {fingerprint}，给出的为 {told}",
    ),
    "refused.newer_approved": (
        "a newer enrolment of {origin} was approved before",
        "{origin} 较新的登记申请此前已批准",
    ),
    "refused.no_request": (
        "{origin}: no enrolment with a request for a certificate was approved",
        "{origin}：没有已批准且带证书请求的登记申请",
    ),
    "refused.not_active": ("{origin}: is not registered, or suspended", "{origin}：未登记或已暂停"),
    "refused.no_certificate": (
        "{origin}: there is no certificate yet: suyuan gateways certificate",
        "{origin}：尚无证书：请执行 suyuan gateways certificate",
    ),
    "refused.not_set_up": ("the platform is not set up: {what}", "平台尚未配置好：{what}"),
    "refused.other_key": (
        (
            "{origin} is enrolled already, with another key ({fingerprint}): a new box takes a new origin, or continues the "
            "old log (suyuan key successor)"
        ),
        "{origin} 已用另一公钥（{fingerprint}）登记：新设备须用新的标识，或接续旧日志（suyuan key successor）",
    ),
    "gateways.suspended": (
        "{origin}: suspended; nothing is taken from it until it is approved again",
        "{origin}：已暂停；再次批准之前不接收其数据",
    ),
    "gateways.refused": (
        "{origin}: the application {fingerprint} is dropped",
        "{origin}：申请 {fingerprint} 已删除",
    ),
    "gateways.removed": (
        "{origin}: removed; what is stored of its log stays, and nothing is taken from it any more",
        "{origin}：已删除；已存日志保留，不再接收其数据",
    ),
    "gateways.revoked_certificate": (
        (
            "its TLS certificates are on the list {file}: suyuan collect --listen lets them in no more, from their next "
            "connection on; a broker gets a copy of the list and is restarted"
        ),
        "其 TLS 证书已列入吊销列表 {file}：suyuan collect --listen 自下一次连接起拒绝；请将列表复制给 MQTT 代理服务器并重启",
    ),
    "gateways.foreign_certificate": (
        (
            "its TLS certificate counts until {until}: another authority issued it, and only that one can revoke it. Have it "
            "revoked there, and give its list to suyuan collect --listen (--crl) and to the broker (crlfile)"
        ),
        (
            "其 TLS 证书有效期至 {until}，由其他 CA 签发，只能由该 CA 吊销。请在该处吊销，并将其吊销列表提供给 suyuan collect --listen"
            "（--crl）与代理服务器（crlfile）"
        ),
    ),
    "gateways.unknown": (
        "{origin}: is not registered; see: suyuan gateways list --store {store}",
        "{origin}：未登记；请查看：suyuan gateways list --store {store}",
    ),
    "gateways.imported": (
        "{origin}: the certificate is kept; the gateway fetches it",
        "{origin}：证书已保存，由网关取回",
    ),
    "gateways.compare": (
        "compare with the fingerprint that the technician reads out, then give --fingerprint; waiting: {theirs}",
        "请与技术人员从网关读出的指纹核对后用 --fingerprint 给出；待批申请：{theirs}",
    ),
    "gateways.store_busy": (
        "the store is in use by the platform at work: shown is what the registry and the gateway's own enrolment say",
        "数据库正由运行中的平台使用：以上仅来自登记文件与网关自身的登记申请",
    ),
    "gateways.which_key": (
        "which key? Give its fingerprint with --fingerprint; the log of {origin} went on to: {keys}",
        "请用 --fingerprint 给出新公钥的指纹；{origin} 的日志先后启用：{keys}",
    ),
    "gateways.same_key": ("{origin}: is registered with this key", "{origin}：登记的就是该公钥"),
    "gateways.rekeyed": (
        "{origin}: registered with the key {fingerprint}; the older one stays in the file as a comment",
        "{origin}：登记公钥已改为 {fingerprint}；旧公钥作为注释保留",
    ),
    "key.rotate": (
        "written: {file}. A running agent takes it up; until it signs alone, both sign. Hand this key to who verifies",
        "已写入：{file}。运行中的采集代理将自动启用，过渡期内新旧密钥同时签名。请将此公钥交给核验方",
    ),
    "key.successor": (
        "{origin} will continue {old} from its {size} entries. Enrol it at the platform with this key, then start it",
        "{origin} 将自 {old} 的第 {size} 条记录起接续。请用此公钥在平台登记，然后启动",
    ),
    "restore.done": (
        "restored: {entries} entries; start the agent",
        "已恢复：{entries} 条记录；请启动采集代理",
    ),
    # verification
    "verify.yes": (
        "VERIFIED: {entries} entries, nothing missing, nothing changed",
        "核验通过：{entries} 条记录，无缺失，无更改",
    ),
    "verify.bundle": (
        "VERIFIED: {disclosed} of {entries} entries disclosed; of {instrument}, numbers {first} to {last}, nothing missing",
        "核验通过：公开 {entries} 条记录中的 {disclosed} 条；{instrument} 第 {first} 至 {last} 号无缺失",
    ),
    "verify.uncovered": (
        "of the period {start} to {end} only {begin} to {until} is covered: {instrument} has no records outside",
        "期间 {start} 至 {end} 中仅 {begin} 至 {until} 被覆盖：此外没有 {instrument} 的记录",
    ),
    "verify.no": ("NOT VERIFIED: {findings} findings", "核验不通过：{findings} 项问题"),
    # status
    "status.stale": ("{instrument}: stale, no reading in time", "{instrument}：过期，未按时取得读数"),
    "status.missing": ("{instrument}: {measurand} missing: {why}", "{instrument}：{measurand} 缺失：{why}"),
    # collect
    "collect.advanced": (
        "{origin}: {entries} new entries verified and stored, size {size}, receipt {receipt}",
        "{origin}：新增 {entries} 条记录已核验并保存，规模 {size}，回执 {receipt}",
    ),
    "collect.crl": (
        "certificates that count no more are read from {file}",
        "已吊销证书列表：{file}",
    ),
    "collect.no_crl": (
        "{clients}: no list of revoked certificates beside it ({file}): every certificate of it counts until its end",
        "{clients}：旁边没有吊销列表（{file}）：该 CA 的证书在到期前一律有效",
    ),
    "collect.crl_alone": (
        "--crl belongs to --clients: it lists certificates of that CA",
        "--crl 须与 --clients 一同使用：它列出该 CA 的已吊销证书",
    ),
    "authority.days": ("--days: from 1 to 3650", "--days：1 至 3650"),
    "authority.name": ("who is it? --name TEXT", "名称为何？请用 --name TEXT 给出"),
    "authority.made": (
        "{directory}: made; bring {root} to the gateways, keep the keys",
        "{directory}：已建立；请将 {root} 送到各网关，私钥妥善保存",
    ),
    "authority.where": (
        "where to? suyuan platform ca issue FILE --store DIR --name TEXT",
        "写到哪里？suyuan platform ca issue FILE --store DIR --name TEXT",
    ),
    "authority.exists": (
        "{file}: exists already; write to another file, then rename it in its place",
        "{file}：已存在；请写入另一文件，再改名替换",
    ),
    "authority.written": ("{file}: written", "{file}：已写入"),
    "authority.listed": (
        "{file}: written, {count} certificates of gateways count no more",
        "{file}：已写入，吊销的网关证书 {count} 份",
    ),
    "collect.listening": (
        "listening at {url}, {count} gateways registered",
        "正在监听 {url}，已登记网关 {count} 台",
    ),
    "collect.receipt.accepted": ("accepted", "已被接受"),
    "collect.receipt.refused": ("not accepted", "未被接受"),
    # demo
    "demo.title": ("Suyuan 溯源: a simulated site; value ± U, k = 2", "溯源：模拟现场；数值 ± U，k = 2"),
    "demo.starting": ("starting the simulated site (seed {seed})", "正在启动模拟现场（种子 {seed}）"),
    "demo.channel": ("point", "测点"),
    "demo.measurand": ("measurand", "被测量"),
    "demo.value": ("measurement result (k = 2)", "测量结果（k = 2）"),
    "demo.time": ("time", "时间"),
    "demo.flags": ("flags", "标志"),
    "demo.log": ("log: {size} entries, checkpoint {checkpoint}", "日志：{size} 条，检查点 {checkpoint}"),
    "demo.receipt": ("last receipt: size {size}, {age} s ago", "最近回执：规模 {size}，{age} 秒前"),
    "demo.noreceipt": ("no receipt yet", "尚无回执"),
    "demo.readings": ("readings {taken}, missed {missed}", "读数 {taken}，缺失 {missed}"),
    "demo.receipts": ("receipts {receipts}", "回执 {receipts} 份"),
    "demo.window": ("not yet acknowledged: {entries} entries", "尚未确认：{entries} 条"),
    "demo.summary": ("Summary", "总结"),
    "demo.energy": ("energy ± U (k = 2)", "电能 ± U（k = 2）"),
    "demo.direction": ("direction", "方向"),
    "demo.direction.import": ("import", "正向"),
    "demo.direction.export": ("export", "反向"),
    "demo.truth": ("truth", "真值"),
    "demo.deviation": ("deviation", "偏差"),
    "demo.covered": ("covered", "覆盖真值"),
    "demo.yes": ("yes", "是"),
    "demo.no": ("NO", "否"),
    "demo.verdict.good": (
        "The platform verified all {entries} entries: nothing lost, nothing changed.",
        "平台已核验全部 {entries} 条记录：无丢失，无更改。",
    ),
    "demo.verdict.bad": ("The platform's verdict is NO: {why}", "平台结论：否：{why}"),
    "demo.stop": ("Ctrl-C ends the demo with a summary", "按 Ctrl-C 结束并显示总结"),
    "measurand.energy.active.import": ("energy import", "正向电能"),
    "measurand.energy.active.export": ("energy export", "反向电能"),
    "measurand.power.active.total": ("power", "有功功率"),
    "measurand.voltage.l1": ("voltage L1", "A 相电压"),
    "measurand.current.l1": ("current L1", "A 相电流"),
    "measurand.power_factor.total": ("power factor", "功率因数"),
    "measurand.frequency": ("frequency", "频率"),
}


def language(environment: Mapping[str, str] | None = None) -> Language:
    """The reader's language: SUYUAN_LANG, else the locale's; English unless it is Chinese."""
    env = os.environ if environment is None else environment
    for name in ("SUYUAN_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        if env.get(name):
            return "zh" if env[name].lower().startswith("zh") else "en"
    return "en"


def phrase(key: str, spoken: Language | None = None, /, **values: object) -> str:
    """The phrase in the reader's language, its placeholders filled. An unknown key is a bug: KeyError."""
    english, chinese = PHRASES[key]
    text = chinese if (spoken or language()) == "zh" else english
    return text.format(**values)


def measurand_name(measurand: str, spoken: Language | None = None) -> str:
    """The measurand's name for people; its technical name where there is none."""
    key = f"measurand.{measurand}"
    return phrase(key, spoken) if key in PHRASES else measurand
