//! History-Info at the S-CSCF (RFC 7044): that a request for an identity goes to a contact of it is
//! written down for those who can read it.

use cscf_core::sip::{HeaderName, Headers};

/// What stands for a URI that is not to be shown (RFC 7044 §10.1.2, RFC 3323 §4.1).
const HIDDEN: &str = "<sip:anonymous@anonymous.invalid>";
/// The entries that a request may bring; one with more gets no further ones.
const ENTRIES_MAX: usize = 64;

/// Adds the entry of a request for `called` that goes to the `n`-th contact, counted from 1; the
/// entry of `called` itself where it is missing (RFC 7044 §9.1, §10.1.1).
pub(crate) fn add(headers: &mut Headers, called: &str, contact: &str, n: usize) {
    let list: Vec<String> = headers.values(HeaderName::HistoryInfo).map(str::to_owned).collect();
    let wanted = !list.is_empty() || headers.has_token(HeaderName::Supported, "histinfo");
    if !wanted || list.len() >= ENTRIES_MAX {
        return;
    }
    let hidden = ["history", "header"]
        .iter()
        .any(|word| headers.values(HeaderName::Privacy).any(|it| has_word(it, word)));
    let shown = |uri: &str| if hidden { HIDDEN.to_owned() } else { format!("<{uri}>") };
    let last = list.last().and_then(|entry| Some((uri_of(entry)?, index_of(entry)?)));
    let parent = match last {
        Some((uri, index)) if uri == called => index.to_owned(),
        // Whoever sent it here wrote nothing down: it is done in its place.
        Some((_, index)) => {
            let index = format!("{index}.1");
            headers.push(HeaderName::HistoryInfo, &format!("{};index={index}", shown(called)));
            index
        }
        None => {
            headers.push(HeaderName::HistoryInfo, &format!("{};index=1", shown(called)));
            "1".to_owned()
        }
    };
    let entry = format!("{};index={parent}.{n};rc={parent}", shown(contact));
    headers.push(HeaderName::HistoryInfo, &entry);
}

fn has_word(value: &str, word: &str) -> bool {
    value.split(';').any(|its| its.trim().eq_ignore_ascii_case(word))
}

fn uri_of(entry: &str) -> Option<&str> {
    Some(entry.split_once('<')?.1.split_once('>')?.0)
}

fn index_of(entry: &str) -> Option<&str> {
    let params = entry.rsplit_once('>').map_or("", |(_, params)| params);
    let index = params.split(';').find_map(|param| param.trim().strip_prefix("index="))?;
    let fine = !index.is_empty() && index.bytes().all(|it| it.is_ascii_digit() || it == b'.');
    fine.then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOB: &str = "sip:bob@ims.example";

    fn check(lines: &[(HeaderName, &str)], n: usize, expected: &[&str]) {
        let mut headers = Headers::new();
        for (name, value) in lines {
            headers.push(*name, value);
        }
        add(&mut headers, BOB, "sip:b@10.0.0.1", n);
        let found: Vec<&str> = headers.values(HeaderName::HistoryInfo).collect();
        assert_eq!(found, expected, "{lines:?}");
    }

    #[test]
    fn a_contact_is_an_entry_below_the_identity() {
        let supported = (HeaderName::Supported, "histinfo");
        let contact = "<sip:b@10.0.0.1>;index=1.1;rc=1";
        check(&[], 1, &[]);
        check(&[supported], 1, &["<sip:bob@ims.example>;index=1", contact]);
        let known = (HeaderName::HistoryInfo, "<sip:bob@ims.example>;index=1.2");
        check(&[known], 2, &[known.1, "<sip:b@10.0.0.1>;index=1.2.2;rc=1.2"]);
        let other = (HeaderName::HistoryInfo, "<sip:carol@ims.example>;index=1");
        check(
            &[other],
            1,
            &[other.1, "<sip:bob@ims.example>;index=1.1", "<sip:b@10.0.0.1>;index=1.1.1;rc=1.1"],
        );
        let private = (HeaderName::Privacy, "history");
        check(
            &[supported, private],
            1,
            &[
                "<sip:anonymous@anonymous.invalid>;index=1",
                "<sip:anonymous@anonymous.invalid>;index=1.1;rc=1",
            ],
        );
    }
}
