//! `cscf parse`: what the parser, and the checks every node makes, say of a message.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bytes::Bytes;
use cscf_core::host::program::{EXIT_COULD_NOT_RUN, EXIT_FAILED, EXIT_OK};
use cscf_core::sip::{Facts, ParseFacts, facts};
use serde::Serialize;

use super::term;

/// More than any datagram; a larger file is read so far and found to be too long.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The facts of one file; what is not there is null.
#[derive(Debug, Default, Serialize)]
struct Line {
    file: String,
    verdict: &'static str,
    reason: Option<String>,
    offset: Option<usize>,
    kind: Option<&'static str>,
    method: Option<String>,
    status: Option<u16>,
    request_uri: Option<String>,
    header_lines: Option<usize>,
    via_count: Option<usize>,
    top_branch: Option<String>,
    call_id: Option<String>,
    cseq: Option<u32>,
    from_tag: Option<String>,
    to_tag: Option<String>,
    contact_count: Option<usize>,
    route_count: Option<usize>,
    body_bytes: Option<usize>,
}

impl Line {
    fn new(file: &Path, found: ParseFacts) -> Self {
        let file = file.to_string_lossy().into_owned();
        match found {
            ParseFacts::Accept(it) => Self { file, verdict: "accept", ..Self::of(*it) },
            ParseFacts::Reject { reason, offset, .. } => {
                Self { file, verdict: "reject", reason: Some(reason), offset, ..Self::default() }
            }
        }
    }

    fn of(it: Facts) -> Self {
        Self {
            kind: Some(it.kind),
            method: it.method,
            status: it.status,
            request_uri: it.request_uri,
            header_lines: Some(it.header_lines),
            via_count: Some(it.via_count),
            top_branch: it.top_branch,
            call_id: it.call_id,
            cseq: it.cseq,
            from_tag: it.from_tag,
            to_tag: it.to_tag,
            contact_count: Some(it.contact_count),
            route_count: Some(it.route_count),
            body_bytes: Some(it.body_bytes),
            ..Self::default()
        }
    }

    /// For people: the verdict, then each fact that is there.
    fn text(&self) -> String {
        let mut out = format!("{}: {}", self.file, self.verdict);
        if let Some(reason) = &self.reason {
            let _ = write!(out, ": {reason}");
        }
        if let Some(offset) = self.offset {
            let _ = write!(out, " (at byte {offset})");
        }
        out.push('\n');
        let Ok(serde_json::Value::Object(facts)) = serde_json::to_value(self) else { return out };
        for (key, value) in &facts {
            if matches!(key.as_str(), "file" | "offset" | "reason" | "verdict") || value.is_null() {
                continue;
            }
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let _ = writeln!(out, "  {key}: {value}");
        }
        out
    }
}

/// Reads each file as one datagram. The exit code is 1 if one is rejected; files that cannot be
/// read are named, then it is 2.
pub(super) fn parse(files: &[PathBuf], json: bool) -> ExitCode {
    let mut code = EXIT_OK;
    for file in files {
        match read(file) {
            Ok(bytes) => {
                let line = Line::new(file, facts(&bytes));
                let text = if json {
                    serde_json::to_string(&line).unwrap_or_default() + "\n"
                } else {
                    line.text()
                };
                term::out(&text);
                if line.verdict == "reject" {
                    code = code.max(EXIT_FAILED);
                }
            }
            Err(fault) => {
                term::error(&format!("{} cannot be read: {fault}", file.display()));
                code = EXIT_COULD_NOT_RUN;
            }
        }
    }
    ExitCode::from(code)
}

fn read(file: &Path) -> std::io::Result<Bytes> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().lock().take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(file)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_every_key_and_null_for_what_is_absent() {
        let bytes = Bytes::from_static(b"SIP/2.0 200 OK\r\nCall-ID: x\r\n\r\n");
        let line = Line::new(Path::new("a.sip"), facts(&bytes));
        let json = serde_json::to_value(&line).expect("json");
        let keys: Vec<&String> = json.as_object().expect("object").keys().collect();
        assert_eq!(keys.len(), 18, "{keys:?}");
        assert_eq!(json["file"], "a.sip");
        assert!(json["request_uri"].is_null());
    }
}
