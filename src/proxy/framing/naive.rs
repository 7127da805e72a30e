//! The same rules once more, for tests alone: told as plainly as possible over a whole input, sharing no
//! code with the scanner, so that a mistake in one shows against the other.

/// What an input comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::proxy) struct Outcome {
    /// What goes on.
    pub(in crate::proxy) passed: Vec<u8>,
    /// Heads among it.
    pub(in crate::proxy) heads: usize,
    /// Heads of interim responses.
    pub(in crate::proxy) interims: usize,
    pub(in crate::proxy) end: End,
}

/// How it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::proxy) enum End {
    /// More could come.
    #[default]
    Open,
    /// Something is wrong.
    Refused,
    /// Another protocol follows, or may follow.
    Switched,
    /// What is there of a head cannot become a sound one.
    Hopeless,
}

/// The numbers that a configuration sets.
#[derive(Clone, Copy, Debug)]
pub(in crate::proxy) struct Maxima {
    pub(in crate::proxy) head: usize,
    pub(in crate::proxy) target: usize,
    pub(in crate::proxy) fields: usize,
    pub(in crate::proxy) trailer: usize,
    pub(in crate::proxy) interims: usize,
}

enum Next {
    Message,
    Bytes(u64),
    Chunks,
    Everything,
    Other,
}

/// A name as those read it to whom every sign is a dash.
fn dashed(name: &str) -> String {
    name.replace(|sign: char| !sign.is_ascii_alphanumeric(), "-")
}

/// Requests, or responses of which every one is awaited and none is to HEAD.
pub(in crate::proxy) fn judge(mut input: &[u8], requests: bool, maxima: Maxima) -> Outcome {
    let mut outcome = Outcome::default();
    let mut interims = 0;
    loop {
        if requests {
            input = input.strip_prefix(b"\r\n").unwrap_or(input);
        }
        let Some(length) = find(input, b"\r\n\r\n").map(|place| place + 4) else {
            outcome.end = if hopeless(input, requests, maxima) { End::Hopeless } else { End::Open };
            return outcome;
        };
        let Some(head) = sound_head(&input[..length], requests, maxima) else {
            outcome.end = End::Refused;
            return outcome;
        };
        let next = if requests { request(&head, maxima) } else { response(&head, &mut interims, maxima) };
        match next {
            None => {
                outcome.end = End::Refused;
                return outcome;
            }
            Some(Next::Other) if !requests && head.lines[0].starts_with("HTTP/1.1 101") => {
                outcome.end = End::Switched;
                return outcome;
            }
            // An interim response.
            Some(Next::Other) if !requests => {
                outcome.interims += 1;
                input = &input[length..];
                continue;
            }
            Some(next) => {
                outcome.heads += 1;
                interims = 0;
                outcome.passed.extend_from_slice(&input[..length]);
                input = &input[length..];
                match body(&mut outcome, input, &next, maxima) {
                    Some(rest) => input = rest,
                    None => return outcome,
                }
            }
        }
    }
}

struct Head {
    /// Latin-1, so that every byte is a character.
    lines: Vec<String>,
    fields: Vec<(String, String)>,
}

impl Head {
    fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(field, _)| field == name).map(|(_, value)| &**value).collect()
    }

    fn connection_has_upgrade(&self) -> bool {
        self.all("connection").join(",").split(',').any(|option| ows(option).eq_ignore_ascii_case("upgrade"))
    }
}

fn ows(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Without the end of a head there is hope only while nothing that is there is wrong.
fn hopeless(input: &[u8], requests: bool, maxima: Maxima) -> bool {
    let lines: Vec<&[u8]> = input.split_inclusive(|byte| *byte == b'\n').collect();
    let whole = lines.iter().take_while(|line| line.ends_with(b"\n"));
    let ends_badly = whole.clone().any(|line| !line.ends_with(b"\r\n"));
    let mut text: Vec<u8> = whole.copied().flatten().copied().collect();
    if input.len() > maxima.head || ends_badly {
        return true;
    }
    if text.is_empty() {
        return false;
    }
    text.extend_from_slice(b"\r\n");
    sound_head(&text, requests, maxima).is_none() || {
        let first = latin(&text[..find(&text, b"\r\n").unwrap_or(0)]);
        if requests { request_line(&first, maxima).is_none() } else { status_line(&first).is_none() }
    }
}

fn sound_head(head: &[u8], requests: bool, maxima: Maxima) -> Option<Head> {
    if head.len() > maxima.head {
        return None;
    }
    let text = latin(head);
    if text.replace("\r\n", "").contains(['\r', '\n']) {
        return None;
    }
    let lines: Vec<String> = text.trim_end_matches("\r\n").split("\r\n").map(str::to_owned).collect();
    if text.starts_with("\r\n") || lines.len() - 1 > maxima.fields {
        return None;
    }
    let mut fields = Vec::new();
    for line in &lines[1..] {
        let (name, value) = line.split_once(':')?;
        if !is_token(name) || !is_value(value) {
            return None;
        }
        let name = name.to_ascii_lowercase();
        if !["content-length", "transfer-encoding"].contains(&&*name)
            && ["content-length", "transfer-encoding"].contains(&&*dashed(&name))
        {
            return None;
        }
        if name == "content-length" && value.contains('\t') {
            return None;
        }
        fields.push((name, ows(value).to_owned()));
    }
    let head = Head { lines, fields };
    let (lengths, codings) = (head.all("content-length"), head.all("transfer-encoding"));
    let coding_is_sound = codings.is_empty() || codings.len() == 1 && codings[0].eq_ignore_ascii_case("chunked");
    let length_is_sound = lengths.is_empty()
        || lengths.len() == 1
            && lengths[0]
                .parse::<u64>()
                .is_ok_and(|length| length <= i64::MAX as u64 && length.to_string() == lengths[0]);
    let hosts = head.all("host");
    let hosts_are_sound = !requests || hosts.len() <= 1 && hosts.iter().all(|host| is_host(host));
    let one_way = lengths.is_empty() || codings.is_empty();
    (coding_is_sound && length_is_sound && hosts_are_sound && one_way).then_some(head)
}

fn request_line(line: &str, maxima: Maxima) -> Option<(&str, &str, bool)> {
    let parts: Vec<&str> = line.split(' ').collect();
    let [method, target, version] = parts[..] else { return None };
    let known = is_token(method) && !method.contains(|c: char| c.is_ascii_lowercase()) && method.len() <= 32;
    let sound = known && method != "CONNECT" && target.len() <= maxima.target;
    match version {
        "HTTP/1.1" if sound => Some((method, target, true)),
        "HTTP/1.0" if sound => Some((method, target, false)),
        _ => None,
    }
}

fn request(head: &Head, maxima: Maxima) -> Option<Next> {
    let (method, target, new) = request_line(&head.lines[0], maxima)?;
    let host = head.all("host").first().copied();
    let chunked = !head.all("transfer-encoding").is_empty();
    if new && host.is_none() || chunked && !new {
        return None;
    }
    let lower = target.to_ascii_lowercase();
    let path = if let Some(rest) = lower.strip_prefix("http://").or(lower.strip_prefix("https://")) {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let default = if lower.starts_with("https") { ":443" } else { ":80" };
        let with_port = |text: &str| {
            let text = text.to_ascii_lowercase();
            if text.ends_with(']') || !text.contains(':') { text + default } else { text }
        };
        if !is_host(&rest[..end]) || host.is_some_and(|host| with_port(host) != with_port(&rest[..end])) {
            return None;
        }
        &target[target.len() - (rest.len() - end)..]
    } else if target == "*" && method == "OPTIONS" {
        ""
    } else if target.starts_with('/') {
        target
    } else {
        return None;
    };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let graphic = |text: &str, never: &str| text.chars().all(|c| c.is_ascii_graphic() && !never.contains(c));
    let escapes = path
        .split('%')
        .skip(1)
        .all(|rest| rest.get(..2).is_some_and(|two| two != "00" && two.chars().all(|c| c.is_ascii_hexdigit())));
    if !graphic(path, "\"#<>?\\^`") || !graphic(query, "\"#<>") || !escapes {
        return None;
    }
    let length = head.all("content-length").first().map_or(0, |length| length.parse().unwrap_or(0));
    let upgrades = head.all("upgrade");
    let upgrade = upgrades.len() == 1 && !upgrades[0].is_empty() && !upgrades[0].eq_ignore_ascii_case("h2c");
    Some(match length {
        _ if chunked => Next::Chunks,
        0 if upgrade && new && method == "GET" && head.connection_has_upgrade() => Next::Other,
        0 => Next::Message,
        length => Next::Bytes(length),
    })
}

fn status_line(line: &str) -> Option<(u16, bool)> {
    let (rest, new) = match (line.strip_prefix("HTTP/1.1 "), line.strip_prefix("HTTP/1.0 ")) {
        (Some(rest), _) => (rest, true),
        (_, Some(rest)) => (rest, false),
        _ => return None,
    };
    let code = rest.get(..3).filter(|code| code.chars().all(|c| c.is_ascii_digit()))?.parse().ok()?;
    let reason = &rest[3..];
    (code >= 100 && (reason.is_empty() || reason.starts_with(' ')) && is_value(reason)).then_some((code, new))
}

fn response(head: &Head, interims: &mut usize, maxima: Maxima) -> Option<Next> {
    let (code, new) = status_line(&head.lines[0])?;
    let chunked = !head.all("transfer-encoding").is_empty();
    let length: Option<u64> = head.all("content-length").first().map(|length| length.parse().unwrap_or(0));
    let framed = chunked || length.is_some_and(|length| length > 0);
    if chunked && !new || framed && (code < 200 || code == 204) {
        return None;
    }
    match code {
        101 if new && head.connection_has_upgrade() && !head.all("upgrade").is_empty() => Some(Next::Other),
        101 => None,
        100..=199 => {
            *interims += 1;
            (*interims <= maxima.interims).then_some(Next::Other)
        }
        204 | 304 => Some(Next::Message),
        _ if chunked => Some(Next::Chunks),
        _ => Some(match length {
            None => Next::Everything,
            Some(0) => Next::Message,
            Some(length) => Next::Bytes(length),
        }),
    }
}

/// Passes a body; `None` when nothing is left to read.
fn body<'a>(outcome: &mut Outcome, mut input: &'a [u8], next: &Next, maxima: Maxima) -> Option<&'a [u8]> {
    match next {
        Next::Message => return Some(input),
        Next::Other => {
            outcome.end = End::Switched;
            return None;
        }
        Next::Everything => {
            outcome.passed.extend_from_slice(input);
            return None;
        }
        Next::Bytes(length) => {
            let here = usize::try_from(*length).unwrap_or(usize::MAX).min(input.len());
            outcome.passed.extend_from_slice(&input[..here]);
            return ((here as u64) == *length).then(|| &input[here..]);
        }
        Next::Chunks => {}
    }
    loop {
        let line_max = input.len().min(1024);
        let Some(end) = find(&input[..line_max], b"\n") else {
            let hope = input.is_empty() || line_max < 1024 && input[0].is_ascii_hexdigit();
            outcome.end = if hope { End::Open } else { End::Refused };
            return None;
        };
        let Some(size) = chunk_line(&latin(&input[..=end])) else {
            outcome.end = End::Refused;
            return None;
        };
        let digits = input.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        outcome.passed.extend_from_slice(&input[..digits]);
        outcome.passed.extend_from_slice(b"\r\n");
        input = &input[end + 1..];
        if size == 0 {
            return trailer(outcome, input, maxima);
        }
        let here = usize::try_from(size).unwrap_or(usize::MAX).min(input.len());
        outcome.passed.extend_from_slice(&input[..here]);
        input = &input[here..];
        match input {
            _ if (here as u64) < size => return None,
            [b'\r', b'\n', ..] => {
                outcome.passed.extend_from_slice(b"\r\n");
                input = &input[2..];
            }
            [] | [b'\r'] => return None,
            _ => {
                outcome.end = End::Refused;
                return None;
            }
        }
    }
}

fn chunk_line(line: &str) -> Option<u64> {
    let line = line.strip_suffix("\r\n")?;
    let end = line.find(';').unwrap_or(line.len());
    let (digits, mut rest) = line.split_at(end);
    let hex = (1..=16).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_hexdigit());
    let size = u64::from_str_radix(digits, 16).ok().filter(|size| hex && *size <= i64::MAX as u64)?;
    while let Some(extension) = rest.strip_prefix(';') {
        let name_end = extension.find([';', '=']).unwrap_or(extension.len());
        let (name, after) = extension.split_at(name_end);
        if !is_token(name) {
            return None;
        }
        rest = match after.strip_prefix('=') {
            None => after,
            Some(value) if value.starts_with('"') => {
                let mut escaped = false;
                let end = value.char_indices().skip(1).find(|(_, c)| {
                    let ends = *c == '"' && !escaped;
                    escaped = *c == '\\' && !escaped;
                    ends
                });
                let end = end?.0 + 1;
                if !is_value(&value[..end]) {
                    return None;
                }
                &value[end..]
            }
            Some(value) => {
                let end = value.find(';').unwrap_or(value.len());
                if !is_token(&value[..end]) {
                    return None;
                }
                &value[end..]
            }
        };
    }
    rest.is_empty().then_some(size)
}

fn trailer<'a>(outcome: &mut Outcome, input: &'a [u8], maxima: Maxima) -> Option<&'a [u8]> {
    let mut length = 0;
    for (count, line) in input.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let refused = |outcome: &mut Outcome| {
            outcome.end = End::Refused;
            None
        };
        length += line.len();
        if length > maxima.trailer {
            return refused(outcome);
        }
        if !line.ends_with(b"\n") {
            return None;
        }
        let text = latin(line);
        let Some(line) = text.strip_suffix("\r\n") else { return refused(outcome) };
        if line.is_empty() {
            outcome.passed.extend_from_slice(&input[..length]);
            return Some(&input[length..]);
        }
        let never = ["content-length", "transfer-encoding", "host", "connection", "upgrade"];
        let sound = line.split_once(':').is_some_and(|(name, value)| {
            is_token(name) && is_value(value) && !never.contains(&&*dashed(&name.to_ascii_lowercase()))
        });
        if !sound || count >= maxima.fields {
            return refused(outcome);
        }
    }
    None
}

/// Whether it is field lines and nothing else.
pub(in crate::proxy) fn are_fields(text: &str) -> bool {
    let text = text.strip_suffix("\r\n").unwrap_or(text);
    text.split("\r\n").filter(|line| !line.is_empty()).all(|line| {
        let field = line.split_once(':');
        !line.contains('\n') && field.is_some_and(|(name, value)| is_token(name) && is_value(value))
    })
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
}

fn is_value(text: &str) -> bool {
    !text.chars().any(|c| c != '\t' && (c < ' ' || c == '\u{7f}'))
}

fn is_host(text: &str) -> bool {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (text, None),
    };
    let port = port.is_none_or(|port| {
        (1..=5).contains(&port.len())
            && port.chars().all(|c| c.is_ascii_digit())
            && port.parse::<u32>().is_ok_and(|port| port <= 65_535)
    });
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let name = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name != "." && name.chars().all(|c| c.is_ascii_alphanumeric() || "-._~!$&'()*+;=".contains(c)),
    };
    !text.is_empty() && !text.starts_with(':') && name && port
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}
