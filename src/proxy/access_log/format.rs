//! Lines as they are written: JSON, or the common log format of NCSA's server.

use std::{fmt::Write, io};

use http::Version;
use serde::Serialize;
use serde_json::{Serializer, ser::Formatter};

use super::Line;
use crate::plan::LogFormat;

/// A line in JSON. Absent is what does not apply.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
struct Json<'a> {
    time: String,
    client: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer: Option<&'a str>,
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    path: &'a str,
    protocol: &'static str,
    status: u16,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_ms: Option<f64>,
    retries: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arm: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    served_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    toggle: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejection: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    broken_off: bool,
    generation: u64,
}

impl Line {
    /// Appends the line, with its end, as the configuration in force at its request wants it.
    pub(in crate::proxy) fn write(&self, text: &mut Vec<u8>) {
        let format = self.serving.plan.access_log.as_ref().map(|log| log.format);
        match format {
            Some(LogFormat::Common) => text.extend_from_slice(self.common().as_bytes()),
            // Texts, numbers and flags always serialise.
            _ => drop(self.json().serialize(&mut Serializer::with_formatter(&mut *text, Printable))),
        }
        text.push(b'\n');
    }

    fn json(&self) -> Json<'_> {
        let plan = &self.serving.plan;
        let decision = self.decision.as_ref();
        let served_by = self.lane.filter(|lane| decision.is_some_and(|decision| decision.lane != *lane));
        Json {
            time: jiff::Timestamp::try_from(self.time).map_or_else(|_early| String::new(), |time| time.to_string()),
            client: self.client.to_string(),
            consumer: self.consumer.as_deref(),
            method: self.method.as_str(),
            host: self.host.as_deref(),
            path: &self.path,
            protocol: self.protocol(),
            status: self.status.as_u16(),
            duration_ms: millis(self.took),
            upstream_ms: self.upstream.map(millis),
            retries: self.retries,
            route: decision.map(|decision| &*plan.route(decision.route).name),
            arm: decision.map(|decision| &*plan.arm(decision.arm).name),
            served_by: served_by.map(|lane| &*plan.arm(plan.lanes[lane.0].arm).name),
            toggle: decision.and_then(|decision| Some(&*plan.toggle(decision.toggle?).toggle.name)),
            variant: decision.and_then(|decision| plan.variant_name(decision)),
            reason: decision.map(|decision| decision.choice.reason.code()),
            rejection: self.rejection,
            broken_off: self.broken_off,
            generation: self.serving.generation,
        }
    }

    /// `client - consumer [time] "request line" status -`: the size is not counted.
    fn common(&self) -> String {
        let time = jiff::Timestamp::try_from(self.time).unwrap_or_default();
        let time = jiff::tz::TimeZone::UTC.to_datetime(time);
        let mut line = format!("{} - ", self.client);
        escape(&mut line, self.consumer.as_deref().unwrap_or("-"));
        line.push_str(&time.strftime(" [%d/%b/%Y:%H:%M:%S +0000] \"").to_string());
        escape(&mut line, self.method.as_str());
        line.push(' ');
        escape(&mut line, &self.path);
        line.push_str(&format!(" {}\" {} -", self.protocol(), self.status.as_u16()));
        line
    }

    fn protocol(&self) -> &'static str {
        match self.version {
            Version::HTTP_2 => "HTTP/2.0",
            Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        }
    }
}

/// JSON on one line, with the control characters escaped that JSON itself allows: a terminal obeys those of
/// ISO 6429 (U+0080 to U+009F) as well.
struct Printable;

impl Formatter for Printable {
    fn write_string_fragment<W: io::Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((place, control)) = rest.char_indices().find(|(_, c)| c.is_control()) {
            write!(writer, "{}\\u{:04x}", &rest[..place], u32::from(control))?;
            rest = &rest[place + control.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

fn millis(duration: std::time::Duration) -> f64 {
    // Microseconds are as exact as anybody reads them.
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Writes what could be mistaken for the line's own as `\xNN`, as other servers do.
fn escape(line: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() || matches!(c, '"' | '\\' | ' ') {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                let written = write!(line, "\\x{byte:02x}");
                debug_assert!(written.is_ok(), "writing to a String cannot fail");
            }
        } else {
            line.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_of_a_text_stands_in_json_as_it_is() {
        for text in ["plain", "", "\u{7f}", "a\u{85}b\u{9b}31m", "\u{0}\n\"\\é\u{2028}"] {
            let mut json = Vec::new();
            text.serialize(&mut Serializer::with_formatter(&mut json, Printable)).unwrap();
            let json = String::from_utf8(json).unwrap();
            assert!(!json.contains(char::is_control), "{json:?}");
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text, "{json:?}");
        }
    }

    #[test]
    fn nothing_that_a_client_sent_ends_a_field_or_a_line() {
        for (text, escaped) in [
            ("/a-b_c%20é", "/a-b_c%20é"),
            ("/\"x\\", "/\\x22x\\x5c"),
            ("a b\n\u{1b}[31m", "a\\x20b\\x0a\\x1b[31m"),
            ("\u{85}", "\\xc2\\x85"),
        ] {
            let mut line = String::new();
            escape(&mut line, text);
            assert_eq!(line, escaped);
        }
    }
}
