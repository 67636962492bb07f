//! Parameters of a header, so that a condition can name one instead of searching the text: behind
//! semicolons (RFC 3261 §7.3.1), or between commas as in challenges and credentials (§20.44).

/// Splits `Header;parameter` of a condition.
///
/// # Errors
///
/// What is wrong with the parameter's name.
pub(super) fn read_name(key: &str) -> Result<(String, Option<String>), String> {
    const NO_HEADERS: [&str; 6] = ["body", "clause", "interval", "reason", "text", "transport"];
    let Some((header, parameter)) = key.split_once(';') else { return Ok((key.to_owned(), None)) };
    let (header, parameter) = (header.trim(), parameter.trim());
    if header.is_empty() || NO_HEADERS.contains(&header) {
        return Err(format!("`{header}` has no parameters; write e.g. `Contact;expires`"));
    }
    let is_name = |text: &str| {
        !text.is_empty()
            && text.chars().all(|char| char.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(char))
    };
    if parameter.is_empty() {
        return Err(
            "the name of a parameter is missing behind `;`, e.g. `Contact;expires`".to_owned()
        );
    }
    if !is_name(parameter) {
        return Err(format!("`{parameter}` is no name of a parameter, e.g. `Contact;expires`"));
    }
    Ok((header.to_owned(), Some(parameter.to_owned())))
}

/// The values of a parameter in the values of a header, without quotation marks; empty text for
/// one that has no value.
#[must_use]
pub fn values(header: &[String], name: &str) -> Vec<String> {
    let mut out = Vec::new();
    for piece in header.iter().flat_map(|value| pieces(value)) {
        let (left, value) = piece.split_once('=').unwrap_or((piece, ""));
        // The first parameter of a challenge stands behind the scheme.
        let left = left.split_whitespace().next_back().unwrap_or_default();
        if left.eq_ignore_ascii_case(name) {
            let value = value.trim();
            let bare = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            out.push(bare.unwrap_or(value).to_owned());
        }
    }
    out
}

/// What stands between commas and semicolons outside quotation marks and angle brackets.
fn pieces(value: &str) -> Vec<&str> {
    let (mut quoted, mut escaped, mut bracketed) = (false, false, false);
    let splits = move |char: char| {
        if std::mem::take(&mut escaped) {
            return false;
        }
        match char {
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '<' if !quoted => bracketed = true,
            '>' if !quoted => bracketed = false,
            ',' | ';' => return !quoted && !bracketed,
            _ => {}
        }
        false
    };
    value.split(splits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &str, name: &str) -> Vec<String> {
        values(&[header.to_owned()], name)
    }

    #[test]
    fn parameters_are_found_by_name_in_either_form() {
        let challenge = r#"Digest realm="a, ck=1", nonce="MTIzck=",algorithm=AKAv1-MD5,ik="2""#;
        assert_eq!(of(challenge, "ck"), Vec::<String>::new());
        assert_eq!(of(challenge, "IK"), ["2"]);
        assert_eq!(of(challenge, "realm"), ["a, ck=1"]);
        assert_eq!(of(challenge, "algorithm"), ["AKAv1-MD5"]);
        let contact = r#""x;q=1" <sip:a@b;lr;ob>;q=0.5;audio, <sip:c@d>;q=0.7"#;
        assert_eq!(of(contact, "q"), ["0.5", "0.7"]);
        assert_eq!(of(contact, "audio"), [""]);
        assert_eq!(of(contact, "ob"), Vec::<String>::new());
        assert_eq!(of(r#"x;a="\"; b=1""#, "b"), Vec::<String>::new());
        assert_eq!(of(r#"Digest response="""#, "response"), [""]);
    }

    #[test]
    fn the_name_of_a_parameter_stands_behind_a_semicolon() {
        let read =
            |key| read_name(key).map(|(header, parameter)| (header, parameter.unwrap_or_default()));
        assert_eq!(read("Contact;expires"), Ok(("Contact".into(), "expires".into())));
        assert_eq!(read("Contact;+sip.instance"), Ok(("Contact".into(), "+sip.instance".into())));
        assert_eq!(read("body"), Ok(("body".into(), String::new())));
        for wrong in ["Contact;", ";expires", "body;x", "Contact;a;b", "Contact;a=b", "Contact;a b"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
