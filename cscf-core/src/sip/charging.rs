//! P-Charging-Vector and P-Charging-Function-Addresses (RFC 7315 §4.5, §4.6, §5.5, §5.6).

use std::borrow::Cow;
use std::fmt;

use super::headers::Headers;
use super::message_ext::HeaderError;
use super::name::HeaderName;
use super::params::{HeaderParams, Params, push_one_line};
use super::scan::{SyntaxError, push_quoted, strip_quotes};

/// A P-Charging-Vector: `icid-value` and its companions, order and unknown ones kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChargingVector {
    /// All parameters, `icid-value` among them.
    pub params: Params,
}

impl ChargingVector {
    /// A vector with this ICID, in quotes as the core nodes write it.
    #[must_use]
    pub fn new(icid: &str) -> Self {
        let mut params = Params::new();
        params.set_quoted("icid-value", icid);
        Self { params }
    }

    /// Reads a vector.
    ///
    /// # Errors
    ///
    /// [`SyntaxError`] when it breaks the grammar or has no `icid-value`.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let params = leading_params(text)?;
        if params.get("icid-value").is_none_or(str::is_empty) {
            return Err(SyntaxError::new(0, "icid-value is missing"));
        }
        Ok(Self { params })
    }

    /// The value of the header with this originating identifier and without the two that came;
    /// `None` where [`ChargingVector::parse`] fails. Written without taking all apart.
    #[must_use]
    pub fn passed_on(value: &str, ours: &Ioi<'_>) -> Option<String> {
        let mut out = String::with_capacity(value.len() + ours.room());
        let mut icid = None;
        for param in HeaderParams::leading(value) {
            let (name, its) = param.ok()?;
            if name.eq_ignore_ascii_case("icid-value") {
                icid = icid.or(Some(strip_quotes(its.unwrap_or_default())));
            }
            if name.eq_ignore_ascii_case("term-ioi") || name.eq_ignore_ascii_case("orig-ioi") {
                continue;
            }
            out.push_str(name);
            if let Some(its) = its {
                out.push('=');
                push_one_line(&mut out, its);
            }
            out.push(';');
        }
        icid.filter(|icid| !icid.is_empty())?;
        out.push_str("orig-ioi=");
        ours.push_quoted(&mut out);
        Some(out)
    }

    /// The value of the header with this terminating identifier in the place of the one that came,
    /// else at the end.
    #[must_use]
    pub fn answered_by(&self, ours: &Ioi<'_>) -> String {
        const NAME: &str = "term-ioi";
        let mut out = String::with_capacity(self.params.text_len() + ours.room());
        let mut told = false;
        for param in self.params.iter() {
            if !out.is_empty() {
                out.push(';');
            }
            if !told && param.name().eq_ignore_ascii_case(NAME) {
                out.push_str(param.name());
                out.push('=');
                ours.push_quoted(&mut out);
                told = true;
            } else {
                param.write(&mut out);
            }
        }
        if !told {
            if !out.is_empty() {
                out.push(';');
            }
            out.push_str(NAME);
            out.push('=');
            ours.push_quoted(&mut out);
        }
        out
    }

    /// The value of the header.
    #[must_use]
    pub fn text(&self) -> String {
        text_of(&self.params)
    }

    /// The IMS charging identity.
    #[must_use]
    pub fn icid(&self) -> &str {
        self.params.get("icid-value").unwrap_or_default()
    }

    /// The host that made the ICID.
    #[must_use]
    pub fn icid_generated_at(&self) -> Option<&str> {
        self.params.get("icid-generated-at")
    }

    /// Says which host made the ICID.
    pub fn set_icid_generated_at(&mut self, host: &str) {
        self.params.set("icid-generated-at", host);
    }

    /// The originating inter-operator identifier.
    #[must_use]
    pub fn orig_ioi(&self) -> Option<Ioi<'_>> {
        self.params.unquoted("orig-ioi").map(Ioi::parse)
    }

    /// The terminating inter-operator identifier.
    #[must_use]
    pub fn term_ioi(&self) -> Option<Ioi<'_>> {
        self.params.unquoted("term-ioi").map(Ioi::parse)
    }

    /// Sets or removes the originating identifier.
    pub fn set_orig_ioi(&mut self, ioi: Option<&Ioi<'_>>) {
        self.set_ioi("orig-ioi", ioi);
    }

    /// Sets or removes the terminating identifier.
    pub fn set_term_ioi(&mut self, ioi: Option<&Ioi<'_>>) {
        self.set_ioi("term-ioi", ioi);
    }

    fn set_ioi(&mut self, name: &str, ioi: Option<&Ioi<'_>>) {
        match ioi {
            Some(ioi) => self.params.set_quoted(name, &ioi.to_string()),
            None => {
                self.params.remove(name);
            }
        }
    }
}

impl fmt::Display for ChargingVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text_of(&self.params))
    }
}

/// An inter-operator identifier: its type and the network's name (TS 24.229 §4.5.4.3; RFC 7315
/// §5.6). Type 2 has no prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ioi<'a> {
    /// Between visited and home network.
    Type1(Cow<'a, str>),
    /// Between two home networks.
    Type2(Cow<'a, str>),
    /// Between home network and application server.
    Type3(Cow<'a, str>),
}

impl<'a> Ioi<'a> {
    const TYPE_1: &'static str = "Type 1";
    const TYPE_3: &'static str = "Type 3";

    /// Reads an identifier; whatever has no known prefix is of type 2.
    #[must_use]
    pub fn parse(text: impl Into<Cow<'a, str>>) -> Self {
        fn behind<'a>(text: Cow<'a, str>, prefix: &str) -> Cow<'a, str> {
            match text {
                Cow::Borrowed(text) => text.get(prefix.len()..).unwrap_or_default().into(),
                Cow::Owned(text) => text.get(prefix.len()..).unwrap_or_default().to_owned().into(),
            }
        }
        let text = text.into();
        if text.starts_with(Self::TYPE_1) {
            Self::Type1(behind(text, Self::TYPE_1))
        } else if text.starts_with(Self::TYPE_3) {
            Self::Type3(behind(text, Self::TYPE_3))
        } else {
            Self::Type2(text)
        }
    }

    /// What stands before the network's name.
    const fn prefix(&self) -> &'static str {
        match self {
            Self::Type1(_) => Self::TYPE_1,
            Self::Type2(_) => "",
            Self::Type3(_) => Self::TYPE_3,
        }
    }

    /// The bytes it mostly takes as a parameter.
    fn room(&self) -> usize {
        ";orig-ioi=\"Type 1\"".len() + self.network().len()
    }

    /// Writes it in quotes behind what is there.
    fn push_quoted(&self, out: &mut String) {
        let behind_quote = out.len() + 1;
        push_quoted(out, self.network());
        out.insert_str(behind_quote, self.prefix());
    }

    /// The network's name.
    #[must_use]
    pub fn network(&self) -> &str {
        match self {
            Self::Type1(network) | Self::Type2(network) | Self::Type3(network) => network,
        }
    }
}

impl fmt::Display for Ioi<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.prefix())?;
        f.write_str(self.network())
    }
}

/// P-Charging-Function-Addresses: `ccf` and `ecf`, each possibly several times, first is primary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChargingFunctionAddresses {
    /// All parameters in order.
    pub params: Params,
}

impl ChargingFunctionAddresses {
    /// Offline and online charging functions, primary first.
    #[must_use]
    pub fn new(ccf: &[&str], ecf: &[&str]) -> Self {
        let mut params = Params::new();
        for (name, list) in [("ccf", ccf), ("ecf", ecf)] {
            for host in list {
                params.push(name, host);
            }
        }
        Self { params }
    }

    /// Reads the addresses.
    ///
    /// # Errors
    ///
    /// [`SyntaxError`] with the offset in `text`.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        leading_params(text).map(|params| Self { params })
    }

    /// The offline charging functions, primary first.
    pub fn ccf(&self) -> impl Iterator<Item = &str> {
        self.params.all("ccf")
    }

    /// The online charging functions, primary first.
    pub fn ecf(&self) -> impl Iterator<Item = &str> {
        self.params.all("ecf")
    }
}

impl fmt::Display for ChargingFunctionAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text_of(&self.params))
    }
}

/// The parameters without the first `;`.
fn text_of(params: &Params) -> String {
    let mut text = String::new();
    params.write(&mut text);
    if !text.is_empty() {
        text.remove(0);
    }
    text
}

/// Parameters of which the first has no `;` before it.
fn leading_params(text: &str) -> Result<Params, SyntaxError> {
    // Nothing but white space is one parameter without a name.
    if text.trim_ascii().is_empty() {
        return Err(SyntaxError::new(text.len(), "parameter without a name"));
    }
    Params::parse_leading(text)
}

impl Headers {
    /// The P-Charging-Vector, if it is there.
    ///
    /// # Errors
    ///
    /// [`HeaderError::Malformed`] when it breaks the grammar.
    pub fn charging_vector(&self) -> Result<Option<ChargingVector>, HeaderError> {
        self.optional(HeaderName::PChargingVector, ChargingVector::parse)
    }

    /// The P-Charging-Function-Addresses, if they are there.
    ///
    /// # Errors
    ///
    /// [`HeaderError::Malformed`] when they break the grammar.
    pub fn charging_functions(&self) -> Result<Option<ChargingFunctionAddresses>, HeaderError> {
        let name = HeaderName::PChargingFunctionAddresses;
        self.optional(name, ChargingFunctionAddresses::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_read_and_printed() {
        let text =
            r#"icid-value="p1-0001";icid-generated-at=10.0.0.10;orig-ioi="Type 1visited.net""#;
        let mut vector = ChargingVector::parse(text).expect("parses");
        assert_eq!(vector.to_string(), text);
        assert_eq!((vector.icid(), vector.icid_generated_at()), ("p1-0001", Some("10.0.0.10")));
        assert_eq!(vector.orig_ioi(), Some(Ioi::Type1("visited.net".into())));
        vector.set_term_ioi(Some(&Ioi::Type2("home.net".into())));
        vector.set_orig_ioi(None);
        let expected = r#"icid-value="p1-0001";icid-generated-at=10.0.0.10;term-ioi="home.net""#;
        assert_eq!(vector.to_string(), expected);
    }

    /// Written in one go or by way of the parameters: the same.
    #[test]
    fn an_answer_has_the_vector_that_came_and_who_answers() {
        let all = [
            "icid-value=a",
            r#"icid-value="a";Term-IOI=x;term-ioi=y;lr"#,
            "term-ioi;icid-value=a;x=\"1\r\n 2\"",
        ];
        for text in all {
            let came = ChargingVector::parse(text).expect("parses");
            for name in ["home.net", "a\"b\\c\nd", ""] {
                let all =
                    [Ioi::Type1(name.into()), Ioi::Type2(name.into()), Ioi::Type3(name.into())];
                for ours in all {
                    let mut by_params = came.clone();
                    by_params.set_term_ioi(Some(&ours));
                    assert_eq!(came.answered_by(&ours), by_params.text(), "{text} {ours}");
                }
            }
        }
        let owned: Cow<'_, str> = "Type 3as.example".to_owned().into();
        assert_eq!(Ioi::parse(owned), Ioi::Type3("as.example".into()));
    }

    #[test]
    fn a_vector_without_icid_is_malformed() {
        assert!(ChargingVector::parse("orig-ioi=home1.net").is_err());
        assert_eq!(ChargingVector::parse("icid-value=a;;").expect_err("empty").offset, 13);
    }

    #[test]
    fn several_charging_functions_keep_their_order() {
        let text = "ccf=192.0.2.1;ccf=[2001:db8::1];ecf=\"aaa://e.example;transport=tcp\"";
        let it = ChargingFunctionAddresses::parse(text).expect("parses");
        assert_eq!(it.ccf().collect::<Vec<_>>(), ["192.0.2.1", "[2001:db8::1]"]);
        assert_eq!(it.ecf().collect::<Vec<_>>(), ["aaa://e.example;transport=tcp"]);
        assert_eq!(it.to_string(), text);
        let ours = ChargingFunctionAddresses::new(&["a", "b"], &["c"]);
        assert_eq!(ours.to_string(), "ccf=a;ccf=b;ecf=c");
    }
}
