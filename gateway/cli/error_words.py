# ruff: noqa: E501 - a row is a line
"""Errors in Chinese, for who reads Chinese: they are raised in English, far below the commands, and told here.

A row is the English of an error, ``{}`` where something is put in, and the Chinese with the same gaps in the same
order, or numbered where the order differs. A test holds that each English text is still raised somewhere, and that
none of the commands' errors is missing here.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from gateway.words import language

ERRORS: Final[dict[str, str]] = {
    # the platform's authority, its file of gateways, enrolments
    "{}: exists already; an authority is never overwritten": "{}：已存在；CA 绝不覆盖",
    "holds no certificate in PEM: {}": "其中没有 PEM 证书：{}",
    "the first certificate is of another key than the gateway's request": "第一份证书的公钥与网关请求中的不同",
    "the certificate was valid until {}": "证书有效期止于 {}",
    "{}: a name has 1 to {} letters (Chinese ones count as three)": "{}：名称为 1 至 {} 个字母（每个汉字按三个计）",
    "{}: others may read it: chmod 600, if you are sure that nobody did": "{}：他人可读；若确信无人读过，请执行 chmod 600",
    "{}: cannot be read: {}; see: suyuan platform ca new": "{}：无法读取：{}；请看：suyuan platform ca new",
    "{}: no key, or {}.pem no certificate, in PEM: {}": "{}：不是 PEM 私钥，或 {}.pem 不是 PEM 证书：{}",
    "{}: is not the key of {}.pem": "{}：不是 {}.pem 的私钥",
    "{}: is neither a DNS name nor an IP address": "{}：既不是域名也不是 IP 地址",
    "the request for a certificate cannot be read: {}": "证书请求无法读取：{}",
    "the request for a certificate is not signed by its key": "证书请求未用其自身私钥签名",
    "the key of the request is none of P-256, P-384, Ed25519": "请求中的公钥不是 P-256、P-384 或 Ed25519",
    "the request names more than {} addresses": "请求中的地址多于 {} 个",
    "{} is suspended by the platform's operator": "{} 已被平台操作员暂停",
    "a newer enrolment of {} is known": "已有 {} 较新的登记申请",
    "another enrolment of {} has this number": "{} 的另一份登记申请使用了相同编号",
    "a newer enrolment of {} is waiting": "{} 较新的登记申请正在等候",
    "the enrolment asks for no certificate: it was made by an older suyuan": "登记申请未请求证书：由旧版 suyuan 生成",
    "{} is registered with another key ({}): a log changes its key by a record of its own; a new box takes a new "
    "origin": "{} 已用另一公钥（{}）登记：日志更换密钥须由其自身记录声明；新设备须用新的标识",
    "{}: is not in {} with the key {}": "{}：不在 {} 中，或公钥不是 {}",
    "{}: cannot be read: {}": "{}：无法读取：{}",
    "{}:{}: is no issued certificate: {}": "{}：第 {} 行：不是已签发证书的记录：{}",
    "a line is a key, or 'suspended' and a key": "每行为一个公钥，或 suspended 加公钥",
    "the key of {} is for receipts; a gateway's signs a log": "{} 的密钥用于回执；网关的密钥用于签署日志",
    "{} is there twice": "{} 出现两次",
    "not a vkey: it reads NAME+KEYID+BASE64, in one line": "不是公钥：应为一行 NAME+KEYID+BASE64",
    # a gateway's enrolment, TLS
    "{}: an answer of more than {} bytes": "{}：应答超过 {} 字节",
    "{}: refused ({}): {}": "{}：被拒绝（{}）：{}",
    "{}: not now ({}): {}": "{}：暂时无法受理（{}）：{}",
    "{}: cannot be used: {}; enrol again": "{}：不可用：{}；请重新登记",
    "what came back cannot be used: {}": "返回内容不可用：{}",
    "what came back is for {}, this is {}": "返回内容属于 {}，本机为 {}",
    "the certificate is of another key than the one that was asked for last; ask again": (
        "证书的公钥与最近一次申请的不同；请重新申请"
    ),
    "the certificate was valid until {} UTC": "证书有效期止于 {} UTC",
    "{} is neither a host name nor an IP address": "{} 既不是主机名也不是 IP 地址",
    "{}: is no certificate: {}; enrol again": "{}：不是证书：{}；请重新登记",
    "{}: holds no certificate in PEM ({})": "{}：其中没有 PEM 证书（{}）",
    "{}: holds no list of revoked certificates in PEM ({})": "{}：其中没有 PEM 吊销列表（{}）",
    "{}: holds no list of revoked certificates (X509 CRL), but something else": "{}：不是吊销列表（X509 CRL）",
    "the private key does not belong to the certificate": "私钥与证书不匹配",
    "the private key has a pass phrase; a service that starts by itself cannot type it": (
        "私钥设有口令；自动启动的服务无法输入"
    ),
    # keys
    "{}: no gateway of this version answers there": "{}：该地址没有本版本的网关应答",
    "{}: is no key file": "{}：不是密钥文件",
    "{}: is no key file that this version reads": "{}：不是本版本可读的密钥文件",
    "{}: is no key file; make one with `suyuan key new`": "{}：不是密钥文件；请用 suyuan key new 生成",
    "{}: is no key file: put it back from a copy. If the log has no record of it yet, move it away and change the key "
    "anew: suyuan key rotate": "{}：不是密钥文件：请从备份放回。若日志尚无其记录，请移开后重新换钥：suyuan key rotate",
    "{}: is no key file, and nothing is signed with it yet: move it away; the start makes one": (
        "{}：不是密钥文件，且尚未用它签名：请移开，启动时会生成新密钥"
    ),
    "{}: is no key file, but the log is there: put the key back from a copy. If it is lost, begin a log that continues "
    "this one: suyuan key successor (docs/keys.md)": (
        "{}：不是密钥文件，但日志存在：请从备份放回密钥。若已丢失，请另起接续日志：suyuan key successor（docs/keys.md）"
    ),
    "{}: exists already; a key is never overwritten": "{}：已存在；密钥绝不覆盖",
    "{}: exists already; a key is never overwritten. Choose another file": "{}：已存在；密钥绝不覆盖。请另选文件",
    "{}: cannot be written: {}": "{}：无法写入：{}",
    "{}: others may read it (mode {}): {}": "{}：他人可读（权限 {}）：{}",
    "{}: is the key of '{}', wanted is '{}' for a log": "{}：是“{}”的密钥，需要的是日志“{}”的密钥",
    "{}: its key is held in {}, the site file says {}. A key does not move by that: set [log] key back, and for the "
    "next change of keys add [log] next_key. If the device is lost, begin a log that continues this one (suyuan key "
    "successor)": (
        "{}：密钥保存在 {}，现场文件写的是 {}。密钥不会因此迁移：请将 [log] key 改回，并为下次换钥加入 [log] next_key。若设备丢失，"
        "请另起接续日志（suyuan key successor）"
    ),
    "{}: its key is in a device, and the site file does not say which: [log] key": (
        "{}：密钥在硬件中，但现场文件未说明是哪一个：[log] key"
    ),
    "{}: is a platform's key for receipts; wanted is a log's": "{}：是平台的回执密钥；需要的是日志密钥",
    "{}: is not there, but {} is: put the old key back": "{}：不存在，但 {} 存在：请放回旧密钥",
    "{}: is not there, but the log is: put the key back. If it is lost, begin a log that continues this one: suyuan "
    "key successor": "{}：不存在，但日志存在：请放回密钥。若已丢失，请另起接续日志：suyuan key successor",
    "{}: is not there: this log has no key yet that could be changed": "{}：不存在：该日志尚无可更换的密钥",
    "{}: a change of keys is under way; it ends by itself": "{}：正在更换密钥，将自行完成",
    "{}: the log has no second signature: [log] sm2 = true": "{}：该日志没有第二签名：[log] sm2 = true",
    "a new key needs --name, for example platform.example/gw/0001": "新密钥须用 --name 命名，例如 platform.example/gw/0001",
    "an SM2 key has no name in its file: give the log's origin by --name": "SM2 密钥文件中没有名称：请用 --name 给出日志标识",
    "successor needs --of NOTE: the last receipt of the old log, from the platform": (
        "successor 需要 --of NOTE：平台保存的旧日志最后一份回执"
    ),
    "{}: is a log's key; make one for receipts: suyuan key new … --receipts": (
        "{}：是日志密钥；请生成回执密钥：suyuan key new … --receipts"
    ),
    "--revoked {}": "--revoked {}",
    # collect, platform
    "either a URL is pulled from, or --listen takes what is pushed: run two, each with its store": (
        "要么从 URL 拉取，要么用 --listen 接收推送：请分别运行，各用其存储目录"
    ),
    "give the gateway's address and --key, or --listen HOST:PORT for gateways that push": (
        "请给出网关地址与 --key；对推送的网关请用 --listen HOST:PORT"
    ),
    "{}: give the gateway's http:// or https:// address": "{}：请给出网关的 http:// 或 https:// 地址",
    "--private-key belongs to a --certificate": "--private-key 须与 --certificate 一同使用",
    "give --certificate and --private-key, or --plain if a proxy in front has the TLS": (
        "请给出 --certificate 与 --private-key；若由前置代理处理 TLS，请用 --plain"
    ),
    "{}; certificates and keys are PEM files, a broker is mqtts://host:port": (
        "{}；证书与私钥为 PEM 文件，代理服务器写作 mqtts://host:port"
    ),
    "{}: write --listen host:port, for example 0.0.0.0:8443": "{}：请写成 --listen host:port，例如 0.0.0.0:8443",
    "a receipt is what a gateway waits for: give the platform's key, --sign FILE": (
        "网关等待的正是回执：请用 --sign FILE 给出平台密钥"
    ),
    "{}: line {}: write VKEY URL, with a space between": "{}：第 {} 行：请写成 VKEY URL，中间加空格",
    "{}: line {}: {} is no http:// or https:// address": "{}：第 {} 行：{} 不是 http:// 或 https:// 地址",
    "--at-once: from 1 to 256": "--at-once：1 至 256",
    "--tls-name: only 'log': many gateways cannot share another name": "--tls-name：只能为 log：多台网关不能共用其他名称",
    "--ask goes with --every or --listen; to answer from what is stored: suyuan platform ask --store DIR": (
        "--ask 须与 --every 或 --listen 同用；从已存数据回答：suyuan platform ask --store DIR"
    ),
    "{}: no collector has stored anything there (no {})": "{}：其中没有采集进程存入的数据（没有 {}）",
    "{}: write HOST:PORT, for example 127.0.0.1:8480": "{}：请写成 HOST:PORT，例如 127.0.0.1:8480",
    "{}: one SHA-256 a line: printf %s TOKEN | sha256sum | cut -c-64": (
        "{}：每行一个 SHA-256：printf %s TOKEN | sha256sum | cut -c-64"
    ),
    "{} is reached from outside: say who may ask, --tokens FILE": "{} 可从外部访问：请用 --tokens FILE 说明谁可查询",
    "which database? --database URL, or SUYUAN_DATABASE in the environment": (
        "哪个数据库？请用 --database URL，或环境变量 SUYUAN_DATABASE"
    ),
    "{}: is an enrolment of {}, not of {}": "{}：是 {} 的登记申请，不是 {} 的",
    "{} is stored with another key ({}). Give that one: a newer key is taken over from the log's own key record. If the "
    "log went on to the newer one before that record came here, revoke the older one up to what is stored, --revoked "
    "FILE with the line: {} size {}": (
        "{} 以另一公钥（{}）存储。请给出该公钥：较新的公钥由日志自身的密钥记录带入。若该记录到达之前日志已换用新密钥，请将旧密钥吊销至已"
        "存储处，在 --revoked FILE 中写入：{} size {}"
    ),
    "{} is at {} entries, not {}: two collectors at work?": "{} 为 {} 条，而非 {} 条：是否有两个采集进程？",
    "SQLite {} can corrupt a WAL; apsw with 3.51.3 or newer is needed": (
        "SQLite {} 可能损坏 WAL；需要 3.51.3 或更新版本的 apsw"
    ),
    "{} is not a store of the platform": "{} 不是平台的存储",
    "{} was written by another version of this program": "{} 由本程序的其他版本写成",
    "{} is open in another process; only one may collect into it, or answer from it. Another collector takes another --store; "
    "the one that runs can answer questions: --ask HOST:PORT": "{} 已被另一进程打开；只允许一个进程写入或查询。另一采集进程请用另一个 --store；"
    "正在运行的进程可用 --ask HOST:PORT 回答查询",
    # verify
    "--previous {}: not cosigned by a --witness: give the key of the platform whose receipt it is": (
        "--previous {}：没有任何 --witness 的联署签名：请给出该回执所属平台的公钥"
    ),
    "{}: this command reads files. Copy the log first (suyuan collect), then verify": (
        "{}：本命令读取文件。请先复制日志（suyuan collect），再核验"
    ),
    "{}: no such directory": "{}：没有该目录",
    "--key {}: a key is not fetched. Get it from whoever answers for the gateway, by another way than the data, compare "
    "its fingerprint, and give it here": (
        "--key {}：公钥不从网络获取。请向网关负责人以不同于数据的途径取得，核对指纹后在此给出"
    ),
    "--previous {}: {}": "--previous {}：{}",
    "--known {}: {}": "--known {}：{}",
    "--key {}: neither a vkey (NAME+KEYID+BASE64) nor a file that holds one": (
        "--key {}：既不是公钥（NAME+KEYID+BASE64），也不是含公钥的文件"
    ),
    "--revoked {}: neither 'VKEY size N' nor a file of such lines": (
        "--revoked {}：既不是 VKEY size N，也不是由此类行组成的文件"
    ),
    "{} {} lies with the data that it is to verify: whoever changed the data could have changed the key. Get the key "
    "another way, compare its fingerprint, and keep it elsewhere": (
        "{} {} 与待核验的数据放在一起：能改数据者也能改公钥。请另行取得公钥，核对指纹，并存放于别处"
    ),
    "--structure passes over what readings say: it is for a log, and not with --recompute": (
        "--structure 不看读数内容：只用于日志，且不与 --recompute 同用"
    ),
    "a log is verified with --key; --policy is for an audit bundle (FILE.html)": (
        "日志用 --key 核验；--policy 用于审计包（FILE.html）"
    ),
    "{}: there is no such directory": "{}：没有该目录",
    "{}: --known and --receipt are for a log; a bundle brings its receipts": (
        "{}：--known 与 --receipt 用于日志；审计包自带回执"
    ),
    "whom do you believe? give the log's key (--key) or your policy (--policy FILE)": (
        "信任谁？请给出日志公钥（--key）或你的策略（--policy FILE）"
    ),
    "--witness: a log's key, not one for receipts": "--witness：这是日志公钥，不是回执公钥",
    "--policy says all: give no --key, --witness or --revoked beside it": (
        "--policy 已说明一切：请勿再给 --key、--witness 或 --revoked"
    ),
    "--policy {}: cannot be read: {}": "--policy {}：无法读取：{}",
    "{}: the agent is running; verify its address instead: suyuan verify http://…": (
        "{}：采集代理正在运行；请改为核验其地址：suyuan verify http://…"
    ),
    "{}: give an http:// or https:// address": "{}：请给出 http:// 或 https:// 地址",
    "{}: the server answered {}": "{}：服务器应答 {}",
    "{}: is larger than any resource of a log": "{}：大于日志的任何资源",
    "{}: is not there: a log is restored for the key that it goes on with": "{}：不存在：恢复日志需要其继续使用的密钥",
    # bundle, affected
    "{}: a gateway's data directory is read with --origin (its log's name)": (
        "{}：读取网关数据目录须给出 --origin（日志标识）"
    ),
    "{}: name one log by --origin; it has {}": "{}：请用 --origin 指明一份日志；其中有 {}",
    "{}: the log names no document with this file's SHA-256": "{}：日志中没有与该文件 SHA-256 相符的文档",
    "--to {} lies before --from {}": "--to {} 早于 --from {}",
    "--shift {}: is not a number; write it with a point: 0.03": "--shift {}：不是数字；请用小数点书写：0.03",
    "the log has no checkpoint that can be read: {}": "日志没有可读的检查点：{}",
    "{}: entry {} is no record: {}": "{}：第 {} 条不是记录：{}",
    "{}: is no platform's store (there is no central.db in it)": "{}：不是平台存储（其中没有 central.db）",
    "{}: there is no log {}; it has {}": "{}：没有日志 {}；其中有 {}",
    "advice is for one log; choose by --origin: {}": "建议只针对一份日志；请用 --origin 选择：{}",
    "--advice needs --reason: what the log should say was wrong": "--advice 需要 --reason：日志中应写明何处有误",
    "--log or --store, not both": "--log 与 --store 只能选一个",
    "--shift is needed to say how far readings are out: --shift 0.03": "需要 --shift 说明读数偏差：--shift 0.03",
    "--advice needs the log that it speaks of: --log or --store": "--advice 需要所指的日志：--log 或 --store",
    # the register
    "missing: {}; give them as options, a certificate file, or run it on a terminal": (
        "缺少：{}；请以选项或证书文件给出，或在终端中运行"
    ),
    "missing: {}; give them as options, or run it on a terminal to be asked": "缺少：{}；请以选项给出，或在终端中运行以逐项询问",
    "--paper is for one certificate; {} has {}": "--paper 只用于一份证书；{} 中有 {} 份",
    "{}: no paper is kept with it": "{}：未保存纸质证书文件",
    "{}: .xml (DCC), .toml, .xlsx and .csv are written": "{}：可写出 .xml（DCC）、.toml、.xlsx 与 .csv",
    "whose certificate is this? it speaks of {}; say --instrument ID": "这是谁的证书？其中提到 {}；请用 --instrument ID 指明",
    "--trust {}: there is no *.pem in it": "--trust {}：其中没有 *.pem",
    "--trust {}: is no certificate in PEM form": "--trust {}：不是 PEM 证书",
    "{}: what is it? .xml (DCC), .csv and .xlsx are read; .toml: certificate add": (
        "{}：这是什么文件？可读 .xml（DCC）、.csv 与 .xlsx；.toml 请用 certificate add"
    ),
    "--kind {}: there are {}": "--kind {}：可选 {}",
    "{}: .csv and .xlsx are written": "{}：可写出 .csv 与 .xlsx",
    "whose label? give ids, or --all": "打印谁的标签？请给出编号，或 --all",
    "{} does not lie between 0 and 1": "{} 不在 0 与 1 之间",
    "{} is at no measuring point; install it first: suyuan instrument install POINT {}": (
        "{} 未装在任何测量点；请先安装：suyuan instrument install POINT {}"
    ),
    "{}: write a register as energy.active.import=1234.56": "{}：请写成 energy.active.import=1234.56",
    "{} is not a date: write 2026-11-01": "{} 不是日期：请写成 2026-11-01",
    "{} is not a span of days: write 90d": "{} 不是天数：请写成 90d",
    "{}: there is no register; name it with --register or {}, or begin one with `suyuan instrument add`": (
        "{}：没有台账；请用 --register 或 {} 指明，或用 suyuan instrument add 新建"
    ),
    "{}: there is no directory {}": "{}：没有目录 {}",
    "who does this? give --actor NAME (this login has no name)": "操作人是谁？请用 --actor NAME 给出（当前登录名为空）",
    # what is said beside
    "{}: {} bytes; {} entries of {} disclosed, everything else as {} hashes": "{}：{} 字节；公开 {} / {} 条，其余为 {} 个哈希",
    "{}: the certificate from before is used": "{}：继续使用原证书",
    "no frame was accepted": "没有接受任何报文",
    "written: {} (mode 0600; keep it, and no copy elsewhere)": "已写入：{}（权限 0600；请妥善保存，勿在别处留副本）",
    "{}: is back": "{}：已恢复",
    "{}: released": "{}：已解除停收",
    "nothing new for more than {}": "超过 {} 无新数据",
    "{}: not one value came: {}": "{}：一个值也没有读到：{}",
    "no meter answered: is the line wired A to A and B to B, powered, and without another master?": "没有仪表应答：A/B 线是否对应、是否上电、总线上是否有其他主站？",
    # site, meters, models
    "{}: is not empty; name a new directory": "{}：目录非空；请指定新目录",
    "{}: is there already and not empty; name a new directory": "{}：已存在且非空；请指定新目录",
    "which site file? suyuan check SITE.toml": "哪个现场文件？suyuan check SITE.toml",
    "{}: write a date (2026-11-01) or an instant (2026-11-01T08:00+08:00)": (
        "{}：请写成日期（2026-11-01）或时刻（2026-11-01T08:00+08:00）"
    ),
    "{}: an instant needs its offset, such as {}+08:00 or {}Z": "{}：时刻须带时区偏移，例如 {}+08:00 或 {}Z",
    "'{}' is not a duration: write for example 500ms, 1s, 15min, 2h": "“{}”不是时长：请写成例如 500ms、1s、15min、2h",
    "{}: a whole number of thousands of digits: write it as 1.2e3": "{}：整数多达数千位：请写成 1.2e3 的形式",
    "the key {} is given twice in one object: state one of them": "键 {} 在同一对象中出现两次：请只保留一个",
    "{}: is nested too deeply": "{}：嵌套过深",
    "{}: a model file is one table with 'model' and 'inputs'": "{}：模型文件为一个含 model 与 inputs 的表",
    "there is no frame to decode: give it as hex, or '-' and standard input": "没有可解码的报文：请以十六进制给出，或用 '-' 从标准输入读取",
    "{}: a key of SM4 has 16 octets: 32 hex digits, or 16 characters": "{}：SM4 密钥为 16 字节：32 位十六进制或 16 个字符",
    "--check belongs to `suyuan profiles fmt`; exchanges are checked by `suyuan profiles check`": (
        "--check 属于 suyuan profiles fmt；报文实例用 suyuan profiles check 检查"
    ),
    "which files? suyuan profiles fmt my-meter.toml": "哪些文件？suyuan profiles fmt my-meter.toml",
    "{}: not TOML: {}": "{}：不是 TOML：{}",
    "without --site it needs --{}": "没有 --site 时需要 --{}",
    "a site says port, protocol and profile: give --site, or these": "现场文件已说明端口、协议与配置：请给 --site，或给这些选项",
    "{}: {}; the site has {}": "{}：{}；现场有 {}",
    "--addresses is for {}, not {}": "--addresses 用于 {}，不用于 {}",
    "{}: meters are searched by {}": "{}：可搜索的协议为 {}",
    "iec62056-21 changes its rate within a session, and a converter keeps one: give --protocol iec62056-21-300 or "
    "iec62056-21-fixed": (
        "iec62056-21 会话中改变速率，而转换器速率固定：请用 --protocol iec62056-21-300 或 iec62056-21-fixed"
    ),
    "{}: units are written 1-247, or one of them": "{}：从站地址写作 1-247，或其中之一",
    "{}: no address is in it": "{}：其中没有地址",
    "--serial {}: which bus? write BUS=/dev/ttyUSB0; serial buses: {}": (
        "--serial {}：哪条总线？请写成 BUS=/dev/ttyUSB0；串行总线：{}"
    ),
    "{}: is not UTF-8 text": "{}：不是 UTF-8 文本",
}

OTHERS: Final[dict[str, str]] = {
    # argparse
    "the following arguments are required: {}": "缺少参数：{}",
    "unrecognized arguments: {}": "无法识别的参数：{}",
    "argument {}: expected one argument": "参数 {}：需要一个值",
    "argument {}: expected at least one argument": "参数 {}：至少需要一个值",
    "argument {}: invalid choice: {} (choose from {})": "参数 {}：{} 不在可选项中（可选：{}）",
    "argument {}: invalid {} value: {}": "参数 {}：不是有效的 {} 值：{}",
    "argument {}: not allowed with argument {}": "参数 {}：不能与参数 {} 同用",
    "argument {}: ignored explicit argument {}": "参数 {}：不接受值 {}",
    "argument {}: {}": "参数 {}：{}",
    "one of the arguments {} is required": "须给出以下参数之一：{}",
    "ambiguous option: {} could match {}": "选项含糊：{} 可指 {}",
    # the system
    "[Errno {}] {}: {}": "{2}：{1}（errno {0}）",
    "[Errno {}] {}": "{1}（errno {0}）",
    "No such file or directory": "没有该文件或目录",
    "Permission denied": "没有权限",
    "Is a directory": "是目录",
    "Not a directory": "不是目录",
    "File exists": "文件已存在",
    "Address already in use": "地址已被占用",
    "Cannot assign requested address": "本机没有该地址",
    "Connection refused": "连接被拒绝",
    "No space left on device": "磁盘已满",
    "Read-only file system": "文件系统只读",
}


def told(text: str) -> str:
    """An error in the reader's language; as it is where there is no row for it."""
    return _chinese(text) if language() == "zh" else text


def _chinese(text: str) -> str:
    for pattern, chinese in _rows():
        if (found := pattern.fullmatch(text)) is not None:
            return chinese.format(*map(_chinese, found.groups()))
    place, colon, rest = text.partition(": ")  # a file, an option, or what could not be done, and the reason
    return f"{place}：{_chinese(rest)}" if colon and _chinese(rest) != rest else text


@cache
def _rows() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Patterns of the English texts, those that say most first."""
    every = {**ERRORS, **OTHERS}
    return tuple(
        (re.compile("(.*?)".join(map(re.escape, english.split("{}"))), re.DOTALL), every[english])
        for english in sorted(every, key=lambda one: -len(one.replace("{}", "")))
    )
