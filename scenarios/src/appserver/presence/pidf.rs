//! Documents of presence (RFC 3863): what can be taken, and what is said of a user whose devices
//! say different things.

use std::fmt::Write as _;

use cscf_core::registrar::xml_text as escaped;
use roxmltree::{Document, Node};

const NAMESPACE: &str = "urn:ietf:params:xml:ns:pidf";
/// Tuples of one document that go into a joint one.
const TUPLES_MAX: usize = 64;

/// Whether a document can be read: a `presence` with an `entity`, whose tuples have an `id` and a
/// status (RFC 3863 §4.1).
pub(super) fn check(body: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(body).map_err(|_| "the document is not UTF-8".to_owned())?;
    let document = Document::parse(text).map_err(|fault| format!("the document: {fault}"))?;
    let root = document.root_element();
    if !is(&root, "presence") {
        return Err(format!("the document is no presence but {}", root.tag_name().name()));
    }
    if root.attribute("entity").is_none() {
        return Err("presence without an entity".to_owned());
    }
    let tuples = root.children().filter(|node| is(node, "tuple"));
    for tuple in tuples {
        if tuple.attribute("id").is_none() || !tuple.children().any(|node| is(&node, "status")) {
            return Err("a tuple without id or status".to_owned());
        }
    }
    Ok(())
}

fn is(node: &Node<'_, '_>, name: &str) -> bool {
    node.is_element()
        && node.tag_name().name() == name
        && node.tag_name().namespace() == Some(NAMESPACE)
}

/// One document of many: a single one as it came; of several every tuple with its status, contact,
/// notes and time, under an id of its own, without extensions.
pub(super) fn compose(entity: &str, documents: &[&str]) -> String {
    if let [only] = documents {
        return (*only).to_owned();
    }
    let mut tuples = String::new();
    for (number, text) in (1..).zip(documents) {
        let Ok(document) = Document::parse(text) else { continue };
        let root = document.root_element();
        for tuple in root.children().filter(|node| is(node, "tuple")).take(TUPLES_MAX) {
            write_tuple(&mut tuples, number, &tuple);
        }
    }
    envelope(entity, &tuples)
}

/// What somebody sees who is not to know anything: nobody can be reached.
pub(super) fn closed(entity: &str) -> String {
    let tuple = "  <tuple id=\"none\"><status><basic>closed</basic></status></tuple>\n";
    envelope(entity, tuple)
}

fn envelope(entity: &str, tuples: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <presence xmlns=\"{NAMESPACE}\" entity=\"{}\">\n{tuples}</presence>\n",
        escaped(entity)
    )
}

fn write_tuple(out: &mut String, number: u32, tuple: &Node<'_, '_>) {
    let text = |node: Node<'_, '_>| escaped(node.text().unwrap_or_default().trim());
    let children = |name: &'static str| tuple.children().filter(move |node| is(node, name));
    let id = escaped(tuple.attribute("id").unwrap_or_default());
    let _ = write!(out, "  <tuple id=\"p{number}-{id}\"><status>");
    let basic = children("status").flat_map(|it| it.children()).find(|node| is(node, "basic"));
    if let Some(basic) = basic {
        let _ = write!(out, "<basic>{}</basic>", text(basic));
    }
    out.push_str("</status>");
    for contact in children("contact").take(1) {
        let priority = contact.attribute("priority");
        let priority = priority.map(|it| format!(" priority=\"{}\"", escaped(it)));
        let _ = write!(out, "<contact{}>{}</contact>", priority.unwrap_or_default(), text(contact));
    }
    for note in children("note") {
        let _ = write!(out, "<note>{}</note>", text(note));
    }
    for time in children("timestamp").take(1) {
        let _ = write!(out, "<timestamp>{}</timestamp>", text(time));
    }
    out.push_str("</tuple>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(id: &str, basic: &str) -> String {
        format!(
            "<presence xmlns=\"{NAMESPACE}\" entity=\"sip:a@b\"><tuple id=\"{id}\"><status>\
             <basic>{basic}</basic></status><contact priority=\"0.5\">sip:a@b?x&amp;y</contact>\
             </tuple></presence>"
        )
    }

    #[test]
    fn what_is_no_document_of_presence_is_told() {
        assert_eq!(check(document("a", "open").as_bytes()), Ok(()));
        for (text, why) in [
            ("<presence", "the document:"),
            ("<a/>", "is no presence"),
            ("<presence xmlns=\"urn:ietf:params:xml:ns:pidf\"/>", "without an entity"),
        ] {
            assert!(check(text.as_bytes()).is_err_and(|it| it.contains(why)), "{text}");
        }
        let bare = document("a", "open").replace("status>", "state>");
        assert!(check(bare.as_bytes()).is_err_and(|it| it.contains("id or status")));
    }

    #[test]
    fn devices_are_told_together() {
        let (one, two) = (document("a", "open"), document("a", "closed"));
        assert_eq!(compose("sip:a@b", &[&one]), one);
        let both = compose("sip:a@b", &[&one, &two]);
        assert_eq!(check(both.as_bytes()), Ok(()));
        let open = "<tuple id=\"p1-a\"><status><basic>open</basic></status>";
        assert!(both.contains(open) && both.contains("id=\"p2-a\""), "{both}");
        assert!(both.contains("priority=\"0.5\">sip:a@b?x&amp;y<"), "{both}");
        assert_eq!(check(compose("sip:a@b", &[]).as_bytes()), Ok(()));
    }
}
