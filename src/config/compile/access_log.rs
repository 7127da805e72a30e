//! `[access_log]`.

use crate::{
    bucket::Weight,
    config::document::Document,
    plan::{AccessLog, LogFormat, LogLines, LogTarget},
};

/// `Some(None)` without the table: nothing is logged.
pub(super) fn access_log(document: &Document<'_>) -> Option<Option<AccessLog>> {
    let Some(field) = document.table("access_log") else { return Some(None) };
    let mut section = field.section()?;
    let path = section.require("path", "write where to: path = \"stdout\", \"stderr\" or a file");
    let format = section
        .take("format")
        .map_or(Some(LogFormat::Json), |field| field.word(&[("json", LogFormat::Json), ("common", LogFormat::Common)]));
    let lines = section
        .take("lines")
        .map_or(Some(LogLines::All), |field| field.word(&[("all", LogLines::All), ("errors", LogLines::Errors)]));
    let waiting = section
        .take("lines_waiting_max")
        .map_or(Some(8192), |field| field.integer(1).and_then(|number| usize::try_from(number).ok()));
    let sample = section.take("sample").map_or(Some(Weight::WHOLE), |field| field.parse(str::parse::<Weight>));
    section.finish();
    let target = match path?.text()? {
        "stdout" => LogTarget::Stdout,
        "stderr" => LogTarget::Stderr,
        path => LogTarget::File(path.into()),
    };
    Some(Some(AccessLog { target, format: format?, lines: lines?, sample: sample?, lines_waiting_max: waiting? }))
}
