//! Communication forwarding unconditional (TS 24.604 §4.5.2.6): the new target, what the history of
//! the call says (RFC 7044), and what the caller is told.

use cscf_core::role::{Action, Actions};
use cscf_core::sip::{HeaderName, NameAddr, Request, Uri};

use super::super::{AppServer, ServerTimer};

/// Diversions of a call; it is not diverted again after so many (TS 24.604 §4.5.2.6.1).
const DIVERSIONS_MAX: usize = 5;

/// The history of a diverted call.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct History {
    /// The values of History-Info.
    pub(super) entries: Vec<String>,
    /// The new Request-URI.
    pub(super) target: String,
}

/// It was diverted too often already.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooOften;

/// The history of a call to the Request-URI of `request` that is diverted to `to`. `shown`: whether
/// those who read it may know who diverted.
pub(super) fn history(request: &Request, to: &str, shown: bool) -> Result<History, TooOften> {
    let mut entries: Vec<String> =
        request.headers.values(HeaderName::HistoryInfo).map(str::to_owned).collect();
    if entries.iter().filter(|it| it.contains("cause=")).count() >= DIVERSIONS_MAX {
        return Err(TooOften);
    }
    let served = &request.request_uri;
    let same = |entry: &String| {
        let wanted = Uri::parse(served).ok();
        let named = NameAddr::parse(entry).ok();
        named.zip(wanted).is_some_and(|(named, wanted)| same_user(&named.uri, &wanted))
    };
    let index_of = |entry: &String| {
        let index = entry.split(";index=").nth(1).unwrap_or("1");
        index.split([';', ',']).next().unwrap_or("1").trim().to_owned()
    };
    let index = match entries.last() {
        Some(last) if same(last) => index_of(last),
        Some(last) => {
            let index = format!("{}.1", index_of(last));
            entries.push(entry(served, &index, shown));
            index
        }
        None => {
            entries.push(entry(served, "1", shown));
            "1".to_owned()
        }
    };
    let target = with_cause(to);
    entries.push(format!("<{target}>;index={index}.1;mp={index}"));
    Ok(History { entries, target })
}

/// An entry for who diverts (RFC 7044 §5; Privacy as RFC 3323 has it for one entry).
fn entry(uri: &str, index: &str, shown: bool) -> String {
    let privacy = if shown || !uri.starts_with("sip:") { "" } else { "?Privacy=history" };
    format!("<{uri}{privacy}>;index={index}")
}

/// The target with the cause of the diversion (RFC 4458 §2; TS 24.604 table 4.5.2.6.2.2). A tel URI
/// has no such parameter.
fn with_cause(to: &str) -> String {
    match Uri::parse(to) {
        Ok(mut uri) if uri.is_sip() => {
            uri.set_param("cause", "302");
            uri.to_string()
        }
        _ => to.to_owned(),
    }
}

fn same_user(a: &Uri, b: &Uri) -> bool {
    let key = cscf_core::registrar::identity_key;
    key(a).is_some() && key(a) == key(b)
}

impl AppServer {
    /// Tells the caller that the call is diverted (TS 24.604 §4.5.2.6.4).
    pub(super) fn tell_diverted(
        &self,
        number: u32,
        history: &History,
        out: &mut Actions<ServerTimer>,
    ) {
        let Some(bridge) = self.bridges.calls.get(&number) else { return };
        let mut response = self.dialog_response(bridge, 181);
        let served = &bridge.near.request_uri;
        if self.config.show_diversion {
            for entry in &history.entries {
                response.headers.push(HeaderName::HistoryInfo, entry);
            }
        } else {
            response.headers.push(HeaderName::Privacy, "id");
        }
        response.headers.push(HeaderName::PAssertedIdentity, &format!("<{served}>"));
        out.push(Action::Reply { context: bridge.context, response: Box::new(response) });
    }
}

#[cfg(test)]
mod tests {
    use cscf_core::sip::Method;

    use super::*;

    fn of(entries: &[&str], shown: bool) -> Result<History, TooOften> {
        let mut request = Request::new(Method::Invite, "sip:bob@ims.example");
        for entry in entries {
            request.headers.push(HeaderName::HistoryInfo, entry);
        }
        history(&request, "sip:carol@ims.example", shown)
    }

    #[test]
    fn the_history_names_who_diverted_and_to_whom() {
        let found = of(&[], true).expect("a history");
        assert_eq!(found.target, "sip:carol@ims.example;cause=302");
        let target = "<sip:carol@ims.example;cause=302>;index=1.1;mp=1";
        assert_eq!(found.entries, ["<sip:bob@ims.example>;index=1", target]);
        let hidden = of(&[], false).expect("a history");
        assert_eq!(hidden.entries[0], "<sip:bob@ims.example?Privacy=history>;index=1");
    }

    #[test]
    fn a_history_goes_on_where_it_ended() {
        let found =
            of(&["<sip:x@y>;index=1", "<sip:bob@ims.example;cause=486>;index=1.1;mp=1"], true);
        let found = found.expect("a history");
        assert_eq!(found.entries.len(), 3);
        assert!(found.entries[2].ends_with(";index=1.1.1;mp=1.1"), "{:?}", found.entries);
        let found = of(&["<sip:x@y>;index=2"], true).expect("a history");
        assert_eq!(found.entries[1], "<sip:bob@ims.example>;index=2.1");
        let many = ["<sip:bob@ims.example;cause=302>;index=1"; DIVERSIONS_MAX];
        assert_eq!(of(&many, true), Err(TooOften));
    }
}
