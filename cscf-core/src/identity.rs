//! Private and public user identities (TS 23.003 §13): the key under which they are looked up,
//! the aliases of a telephone number, and what follows from an IMSI. Decides nothing about who may
//! use an identity; that is the business of registrar and HSS.

mod numbering;
mod range;
mod wildcard;

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

pub use self::numbering::{NumberFault, Numbering};
pub use self::range::{ImsiRange, RangeFault, imsi_value, number_value};
pub use self::wildcard::Wildcard;
use crate::sip::{Uri, UriError, decode, encode, host_ip, phone_digits, push_phone_digits};

/// A text that is no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A private identity is a network access identifier, `user@realm`.
    #[error("private identity {0:?} is not user@realm")]
    NotAnNai(String),
    /// A public identity is a URI.
    #[error("public identity is not a URI: {0}")]
    NotAUri(#[from] UriError),
    /// A public identity names a user.
    #[error("public identity {0:?} has no user part")]
    NoUser(String),
    /// An IMSI is 6 to 15 digits (TS 23.003 §2.2).
    #[error("IMSI {0:?} is not 6 to 15 digits")]
    NotAnImsi(String),
    /// A mobile network code is 2 or 3 digits, a country code 3.
    #[error("network code MCC {mcc:?} MNC {mnc:?} is not 3 and 2 to 3 digits")]
    NotANetwork {
        /// The country code as given.
        mcc: String,
        /// The network code as given.
        mnc: String,
    },
}

/// A private user identity, `user@realm`; the realm in lower case (TS 23.003 §13.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Impi(String);

impl Impi {
    /// Reads a private identity.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NotAnNai`] when it is not `user@realm` in printable ASCII.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let fault = || IdentityError::NotAnNai(text.to_owned());
        let (user, realm) = text.trim().rsplit_once('@').ok_or_else(fault)?;
        let printable = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        if !printable(user) || !printable(realm) || user.contains('@') {
            return Err(fault());
        }
        Ok(Self(format!("{user}@{}", realm.to_ascii_lowercase())))
    }

    /// The identity as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before `@`.
    #[must_use]
    pub fn user(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(user, _)| user)
    }

    /// The part behind `@`: the home network domain.
    #[must_use]
    pub fn realm(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, realm)| realm)
    }

    /// The public identity a UE means when it sends no credentials and its private one is derived
    /// from it, and back: `sip:user@realm` (TS 23.003 §13.4B).
    #[must_use]
    pub fn to_impu(&self) -> Impu {
        Impu(format!("sip:{}@{}", encode(self.user(), is_key_byte), self.realm()))
    }
}

/// A public user identity in the form it is looked up by: URI parameters, headers, port and visual
/// separators gone, escapes undone, host in lower case, user part as it is (RFC 3261 §10.3).
///
/// `sip:+1-555-0100@Home:5060;user=phone` becomes `sip:+15550100@home`. That identity and
/// `tel:+15550100` are two keys; who looks up by one tries the other too, see [`Impu::aliases`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Impu(String);

impl Impu {
    /// Reads a public identity. Spaces inside a tel URI are taken as visual separators.
    ///
    /// # Errors
    ///
    /// [`IdentityError`] when it is no URI or a SIP URI without user part.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let text = text.trim();
        let is_tel = text.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("tel:"));
        if is_tel && text.contains(' ') {
            return Self::from_uri(&Uri::parse(&text.replace(' ', ""))?);
        }
        Self::from_uri(&Uri::parse(text)?)
    }

    /// The identity a URI names.
    ///
    /// # Errors
    ///
    /// [`IdentityError::NoUser`] for a SIP URI without user part.
    pub fn from_uri(uri: &Uri) -> Result<Self, IdentityError> {
        Ok(Self(match uri {
            Uri::Sip(sip) => {
                let user = sip.user().ok_or_else(|| IdentityError::NoUser(uri.to_string()))?;
                let phone =
                    sip.params().get("user").is_some_and(|it| it.eq_ignore_ascii_case("phone"));
                let mut key = String::with_capacity(5 + user.len() + sip.host().len());
                key.push_str("sip:");
                let digits = |byte: u8| byte.is_ascii_digit() || byte == b'+';
                // Of these nothing changes in any form.
                if user.bytes().all(if phone { digits } else { is_key_byte }) {
                    key.push_str(user);
                } else {
                    let user = canonical_user(&decode(user), phone);
                    key.push_str(&encode(&user, is_key_byte));
                }
                key.push('@');
                push_host(&mut key, sip.host());
                key
            }
            Uri::Tel(tel) => {
                let number = tel.number();
                let mut key = String::with_capacity("tel:".len() + number.len());
                key.push_str("tel:");
                push_phone_digits(&mut key, number);
                match tel.phone_context().filter(|_| !tel.is_global()) {
                    Some(context) if context.starts_with('+') => {
                        format!("{key};phone-context={}", phone_digits(context))
                    }
                    Some(context) => {
                        format!("{key};phone-context={}", context.to_ascii_lowercase())
                    }
                    None => key,
                }
            }
            Uri::Other(_) => format!("{}:{}", uri.scheme(), uri.opaque().unwrap_or_default()),
        }))
    }

    /// The key as text of its own.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a tel URI.
    #[must_use]
    pub fn is_tel(&self) -> bool {
        self.0.starts_with("tel:")
    }

    /// The user part of a SIP identity, or the number of a tel one.
    #[must_use]
    pub fn user(&self) -> &str {
        let rest = self.0.split_once(':').map_or("", |(_, rest)| rest);
        match rest.rsplit_once('@') {
            Some((user, _)) => user,
            None => rest.split(';').next().unwrap_or_default(),
        }
    }

    /// The domain of a SIP identity.
    #[must_use]
    pub fn domain(&self) -> Option<&str> {
        self.0.strip_prefix("sip:")?.rsplit_once('@').map(|(_, domain)| domain)
    }

    /// The global number it stands for (`+` and digits), if it is one: a tel URI, or a SIP URI
    /// whose user part is one.
    #[must_use]
    pub fn global_number(&self) -> Option<&str> {
        Some(self.user()).filter(|user| is_global_number(user))
    }

    /// The tel identity of a SIP identity whose user part is a global number (TS 24.229 §4.2).
    #[must_use]
    pub fn to_tel(&self) -> Option<Self> {
        self.global_number().map(|number| Self(format!("tel:{number}")))
    }

    /// The SIP identity of a global number at a home domain (TS 24.229 §4.2).
    #[must_use]
    pub fn to_sip(&self, domain: &str) -> Option<Self> {
        let number = self.global_number()?;
        Some(Self(format!("sip:{number}@{}", canonical_host(domain))))
    }

    /// The other keys that reach the same user: tel for a SIP number of this home domain, SIP for a
    /// tel number. Empty for anything else.
    pub fn aliases(&self, home_domain: &str) -> impl Iterator<Item = Self> {
        let alias = if self.is_tel() {
            self.to_sip(home_domain)
        } else if self.domain() == Some(canonical_host(home_domain).as_str()) {
            self.to_tel()
        } else {
            None
        };
        alias.into_iter()
    }

    /// The identity as a URI to be sent: `user=phone` if the user part of a SIP URI is a global
    /// number (TS 23.003 §13.4).
    #[must_use]
    pub fn to_uri_text(&self) -> String {
        if !self.is_tel() && self.global_number().is_some() {
            return format!("{};user=phone", self.0);
        }
        self.0.clone()
    }

    /// [`Impu::to_uri_text`], read.
    ///
    /// # Errors
    ///
    /// Never for an identity that was read by [`Impu::parse`]; the type does not know that.
    pub fn to_uri(&self) -> Result<Uri, UriError> {
        Uri::parse(&self.to_uri_text())
    }
}

/// Of a telephone number (`user=phone`) the visual separators go, and its parameters if it is a
/// global one.
fn canonical_user(user: &str, phone: bool) -> String {
    if !phone {
        return user.to_owned();
    }
    let (number, params) = user.split_once(';').unwrap_or((user, ""));
    if number.starts_with('+') || params.is_empty() {
        return phone_digits(number);
    }
    format!("{};{}", phone_digits(number), params.to_ascii_lowercase())
}

fn canonical_host(host: &str) -> String {
    let mut text = String::with_capacity(host.len());
    push_host(&mut text, host);
    text
}

/// Appends a host: names in lower case without the last dot, IPv6 addresses in their usual form.
fn push_host(text: &mut String, host: &str) {
    // No name has a colon.
    let address = if host.contains(':') { host_ip(host) } else { None };
    match address {
        Some(std::net::IpAddr::V6(address)) => text.push_str(&format!("[{address}]")),
        _ => {
            let start = text.len();
            text.push_str(host.trim_end_matches('.'));
            if let Some(host) = text.get_mut(start..) {
                host.make_ascii_lowercase();
            }
        }
    }
}

/// What may stand bare in the user part of a key; the rest is escaped, so a key is a URI again.
const fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')')
        || matches!(byte, b'&' | b'=' | b'+' | b'$' | b',' | b';' | b'?' | b'/' | b'#')
}

/// Whether the text is `+` and digits only (RFC 3966 §5.1.4, visual separators gone).
#[must_use]
pub fn is_global_number(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

macro_rules! text_identity {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl FromStr for $name {
            type Err = IdentityError;
            fn from_str(text: &str) -> Result<Self, IdentityError> {
                Self::parse(text)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}
text_identity!(Impi);
text_identity!(Impu);

/// The home network domain of an operator, `ims.mncNNN.mccNNN.3gppnetwork.org`; it is the realm too
/// (TS 23.003 §13.2).
///
/// # Errors
///
/// [`IdentityError::NotANetwork`] unless `mcc` is 3 digits and `mnc` 2 or 3.
pub fn home_domain(mcc: &str, mnc: &str) -> Result<String, IdentityError> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if mcc.len() != 3 || !matches!(mnc.len(), 2 | 3) || !digits(mcc) || !digits(mnc) {
        return Err(IdentityError::NotANetwork { mcc: mcc.to_owned(), mnc: mnc.to_owned() });
    }
    Ok(format!("ims.mnc{mnc:0>3}.mcc{mcc}.3gppnetwork.org"))
}

/// The identities of a UE that has a USIM and no ISIM (TS 23.003 §13.2 to §13.4B).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImsiIdentities {
    /// `<IMSI>@<home domain>`.
    pub impi: Impi,
    /// The temporary public identity `sip:<IMSI>@<home domain>`; it is barred.
    pub impu: Impu,
    /// The home network domain, also Request-URI and realm of the registration.
    pub home_domain: String,
}

/// Derives the identities of an IMSI; `mnc_digits` is 2 or 3, which the IMSI itself does not tell.
///
/// # Errors
///
/// [`IdentityError::NotAnImsi`] or [`IdentityError::NotANetwork`].
pub fn from_imsi(imsi: &str, mnc_digits: usize) -> Result<ImsiIdentities, IdentityError> {
    let fault = || IdentityError::NotAnImsi(imsi.to_owned());
    if !(6..=15).contains(&imsi.len()) || !imsi.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(fault());
    }
    let mcc = imsi.get(..3).ok_or_else(fault)?;
    let mnc = imsi.get(3..3 + mnc_digits.min(4)).ok_or_else(fault)?;
    let home_domain = home_domain(mcc, mnc)?;
    let impi = Impi(format!("{imsi}@{home_domain}"));
    Ok(ImsiIdentities { impu: impi.to_impu(), impi, home_domain })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> String {
        Impu::parse(text).expect(text).to_string()
    }

    #[test]
    fn the_key_leaves_out_what_does_not_identify() {
        for (text, expected) in [
            ("sip:User@Home:5060;transport=udp?Subject=x", "sip:User@home"),
            ("sips:user@HOME.", "sip:user@home"),
            ("tel:+1-555 0100", "tel:+15550100"),
            ("TEL:+1(555)0100;x=y", "tel:+15550100"),
            ("sip:+15550100@home;user=phone", "sip:+15550100@home"),
            ("sip:%2B1-555.0100;ext=1@Home;user=phone", "sip:+15550100@home"),
            ("sip:al%69ce%20x@home", "sip:alice%20x@home"),
            ("sip:a-b@home", "sip:a-b@home"),
            ("tel:9-11;phone-context=IMS.example", "tel:911;phone-context=ims.example"),
            ("sip:a@[2001:DB8:0::1]", "sip:a@[2001:db8::1]"),
            ("urn:service:sos", "urn:service:sos"),
        ] {
            assert_eq!(key(text), expected, "{text}");
            assert_eq!(key(expected), expected, "a key is its own key");
        }
        assert!(matches!(Impu::parse("sip:home"), Err(IdentityError::NoUser(_))));
        assert!(matches!(Impu::parse("alice"), Err(IdentityError::NotAUri(_))));
    }

    #[test]
    fn a_number_has_a_sip_and_a_tel_alias() {
        let sip = Impu::parse("sip:+1-555-0100@Home.net;user=phone").expect("parses");
        let tel = Impu::parse("tel:+15550100").expect("parses");
        assert_eq!(sip.aliases("home.NET").next().as_ref(), Some(&tel));
        assert_eq!(tel.aliases("home.net").next().as_ref(), Some(&sip));
        assert_eq!(sip.aliases("other.net").count(), 0);
        assert_eq!(sip.to_uri_text(), "sip:+15550100@home.net;user=phone");
        let name = Impu::parse("sip:alice@home.net").expect("parses");
        assert_eq!(
            (name.aliases("home.net").count(), name.to_uri_text().as_str()),
            (0, name.as_str())
        );
        assert_eq!(Impu::parse("tel:911").expect("parses").aliases("home.net").count(), 0);
    }

    #[test]
    fn the_imsi_gives_domain_private_and_temporary_public_identity() {
        let two = from_imsi("001010000000001", 2).expect("2 digits");
        assert_eq!(two.home_domain, "ims.mnc001.mcc001.3gppnetwork.org");
        assert_eq!(two.impi.as_str(), "001010000000001@ims.mnc001.mcc001.3gppnetwork.org");
        assert_eq!(two.impu.as_str(), "sip:001010000000001@ims.mnc001.mcc001.3gppnetwork.org");
        let three = from_imsi("310410123456789", 3).expect("3 digits");
        assert_eq!(three.home_domain, "ims.mnc410.mcc310.3gppnetwork.org");
        for (imsi, digits) in [("12345", 2), ("00101x", 2), ("001010000000001", 4), ("001011", 1)] {
            assert!(from_imsi(imsi, digits).is_err(), "{imsi} {digits}");
        }
    }

    #[test]
    fn a_private_identity_is_user_and_realm() {
        let impi = Impi::parse("Alice@IMS.Example").expect("parses");
        assert_eq!((impi.user(), impi.realm()), ("Alice", "ims.example"));
        for text in ["alice", "@realm", "alice@", "a b@realm", "a@b@c"] {
            assert!(Impi::parse(text).is_err(), "{text}");
        }
    }
}
