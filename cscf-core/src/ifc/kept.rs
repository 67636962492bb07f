//! Reads the user profiles of many subscribers, nearly all of which differ in their identities
//! only (TS 29.228 Annex E): one that looks like another needs no XML reader.

use std::ops::Range;

use crate::ifc::model::{PublicIdentity, UserProfile};
use crate::ifc::profile::{PROFILE_MAX, ProfileError};

/// Kinds of documents that are remembered.
const SHAPES_MAX: usize = 16;
/// The longest document that is remembered, in bytes.
const SHAPE_MAX: usize = 16_384;
/// The elements whose texts may differ.
const ELEMENTS: [&str; 2] = ["<PrivateID>", "<Identity>"];

/// A reader of `IMSSubscription` documents with a memory: what it gives is what
/// [`UserProfile::parse`] gives.
#[derive(Debug, Default)]
pub struct ProfileReader {
    /// The one that was seen last is in front.
    shapes: Vec<Shape>,
}

impl ProfileReader {
    /// Reads a document.
    ///
    /// # Errors
    ///
    /// As [`UserProfile::parse`].
    pub fn read(&mut self, text: &str) -> Result<UserProfile, ProfileError> {
        // Whatever is too long has an error of its own.
        if text.len() > PROFILE_MAX {
            return UserProfile::parse(text);
        }
        let Some((at, values)) = self.find(text) else {
            let profile = UserProfile::parse(text)?;
            if let Some(shape) = Shape::of(text) {
                self.shapes.truncate(SHAPES_MAX - 1);
                self.shapes.insert(0, shape);
            }
            return Ok(profile);
        };
        if let Some(before) = self.shapes.get_mut(..=at) {
            before.rotate_right(1);
        }
        let Some(shape) = self.shapes.first_mut() else { return UserProfile::parse(text) };
        if let Fit::Exact(profile) = &shape.fit {
            return Ok(filled(profile, &values));
        }
        let profile = UserProfile::parse(text)?;
        // What comes once only is not worth the work.
        if matches!(shape.fit, Fit::Unknown) {
            shape.fit = shape.fit_to(&profile);
        }
        Ok(profile)
    }

    fn find<'a>(&self, text: &'a str) -> Option<(usize, Vec<&'a str>)> {
        let mut each = self.shapes.iter().enumerate();
        each.find_map(|(at, shape)| Some((at, shape.values(text)?)))
    }
}

/// A document with the places of its identities.
#[derive(Debug)]
struct Shape {
    text: Box<str>,
    places: Vec<Range<usize>>,
    fit: Fit,
}

/// Whether the texts at the places are the identities of the profile, each of them one.
#[derive(Debug)]
enum Fit {
    /// Not known before a second document looks like it.
    Unknown,
    /// They are, and this is the profile without them.
    Exact(Box<UserProfile>),
    /// They are not.
    None,
}

impl Shape {
    /// Takes a well-formed document; `None` for one in which a text might not be one.
    fn of(text: &str) -> Option<Self> {
        let body = if text.starts_with("<?xml") { text.find("?>")? + 2 } else { 0 };
        let rest = text.get(body..).filter(|_| text.len() <= SHAPE_MAX)?;
        // Comments, CDATA sections, instructions, DTDs and attributes have what looks like an
        // element and is none.
        if rest.contains(['"', '\'']) || rest.contains("<!") || rest.contains("<?") {
            return None;
        }
        let mut places = Vec::new();
        let mut at = body;
        while let Some(found) = memchr::memchr(b'<', text.as_bytes().get(at..)?) {
            at += found;
            let element = text.get(at..)?;
            let Some(name) = ELEMENTS.iter().find(|name| element.starts_with(**name)) else {
                at += 1;
                continue;
            };
            at += name.len();
            let value = value_of(text.get(at..)?)?;
            places.push(at..at + value.len());
            at += value.len();
        }
        Some(Self { text: text.into(), places, fit: Fit::Unknown })
    }

    /// The texts at the places of a document that differs in nothing else.
    fn values<'a>(&self, text: &'a str) -> Option<Vec<&'a str>> {
        let mut values = Vec::with_capacity(self.places.len());
        let (mut rest, mut from) = (text, 0);
        for place in &self.places {
            rest = rest.strip_prefix(self.text.get(from..place.start)?)?;
            let value = value_of(rest)?;
            rest = rest.get(value.len()..)?;
            values.push(value);
            from = place.end;
        }
        (rest == self.text.get(from..)?).then_some(values)
    }

    /// Puts a mark at each place and looks where the XML reader finds it.
    fn fit_to(&self, profile: &UserProfile) -> Fit {
        let marks: Vec<String> = (0..self.places.len()).map(|place| format!("m{place}")).collect();
        let mut text = String::with_capacity(self.text.len());
        let mut from = 0;
        for (place, mark) in self.places.iter().zip(&marks) {
            text.push_str(self.text.get(from..place.start).unwrap_or_default());
            text.push_str(mark);
            from = place.end;
        }
        text.push_str(self.text.get(from..).unwrap_or_default());
        let Ok(marked) = UserProfile::parse(&text) else { return Fit::None };
        let blank = blank(marked.clone());
        let of_profile = 1 + blank.public_identities().count();
        let exact = of_profile == marks.len() && filled(&blank, &marks) == marked;
        match exact && blank == self::blank(profile.clone()) {
            true => Fit::Exact(Box::new(blank)),
            false => Fit::None,
        }
    }
}

/// The text of an element up to the next one, if every character of it is what it stands for and
/// none is space.
fn value_of(text: &str) -> Option<&str> {
    let plain = |byte: &u8| matches!(byte, b'!'..=b'~') && !matches!(byte, b'&' | b'>');
    let value = text.get(..memchr::memchr(b'<', text.as_bytes())?)?;
    Some(value).filter(|value| !value.is_empty() && value.as_bytes().iter().all(plain))
}

/// The places of a profile's identities, in the order of the schema.
fn identities(profile: &mut UserProfile) -> impl Iterator<Item = &mut String> {
    let UserProfile { private_id, service_profiles } = profile;
    let each = service_profiles.iter_mut().flat_map(|it| &mut it.public_identities);
    [private_id].into_iter().chain(each.map(|PublicIdentity { identity, .. }| identity))
}

/// A profile without its identities.
fn blank(mut profile: UserProfile) -> UserProfile {
    identities(&mut profile).for_each(String::clear);
    profile
}

/// A profile with these identities.
fn filled(blank: &UserProfile, values: &[impl AsRef<str>]) -> UserProfile {
    let mut profile = blank.clone();
    for (place, value) in identities(&mut profile).zip(values) {
        value.as_ref().clone_into(place);
    }
    profile
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The identities of a subscriber in a document with all there may be around them.
    fn document(user: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><IMSSubscription><PrivateID>\
             {user}@ims.example</PrivateID><ServiceProfile><PublicIdentity>\
             <Identity>sip:{user}@ims.example</Identity></PublicIdentity><PublicIdentity>\
             <BarringIndication>1</BarringIndication><Identity>tel:+{user}</Identity>\
             <Extension><Extension><DisplayName>A &amp; B</DisplayName>\
             </Extension></Extension></PublicIdentity><InitialFilterCriteria><Priority>1</Priority>\
             <ApplicationServer><ServerName>sip:as.ims.example</ServerName></ApplicationServer>\
             </InitialFilterCriteria></ServiceProfile></IMSSubscription>"
        )
    }

    fn exact(reader: &ProfileReader) -> usize {
        reader.shapes.iter().filter(|it| matches!(it.fit, Fit::Exact(_))).count()
    }

    #[test]
    fn the_third_document_that_looks_the_same_is_read_without_xml_to_the_same_profile() {
        let mut reader = ProfileReader::default();
        for user in ["1", "22", "333", "alice!.*!+x"] {
            let text = document(user);
            assert_eq!(reader.read(&text), UserProfile::parse(&text));
        }
        assert_eq!((reader.shapes.len(), exact(&reader)), (1, 1));
        // It is the memory that answers: the document is not read again.
        let Fit::Exact(kept) = &mut reader.shapes[0].fit else { panic!() };
        kept.service_profiles[0].subscribed_media_profile_id = Some(7);
        let profile = reader.read(&document("4444")).unwrap();
        assert_eq!(profile.service_profiles[0].subscribed_media_profile_id, Some(7));
    }

    #[test]
    fn whatever_differs_elsewhere_or_is_not_plain_is_read_whole() {
        let mut reader = ProfileReader::default();
        for user in ["1", "22", "333"] {
            reader.read(&document(user)).unwrap();
        }
        let like = document("55555");
        for (from, to) in [
            ("<Priority>1<", "<Priority>2<"),
            ("<Priority>1<", "<Priority>x<"),
            ("sip:55555@", "sip:5&amp;5@"),
            ("sip:55555@", "sip:5&x;5@"),
            ("sip:55555@", "sip:5]]>5@"),
            ("sip:55555@", " sip:5 5@"),
            ("sip:55555@", "sip:5<!-- -->5@"),
            ("sip:55555@", "sip:ä@"),
            ("sip:55555@ims.example", ""),
            ("</PublicIdentity>", ""),
            ("</IMSSubscription>", "</IMSSubscription><a/>"),
            ("</IMSSubscription>", ""),
        ] {
            let text = like.replace(from, to);
            assert_ne!(text, like);
            assert_eq!(reader.read(&text), UserProfile::parse(&text), "{to}");
        }
        let long = document(&"5".repeat(PROFILE_MAX));
        assert_eq!(reader.read(&long), Err(ProfileError::TooMany("bytes")));
    }

    #[test]
    fn what_only_looks_like_an_identity_takes_the_place_of_none() {
        let plain = document("1");
        for (from, to) in [
            // Hidden from a reader of XML, or a second one that it does not look at.
            ("<Identity>sip", "<!-- <Identity>b</Identity> --><Identity>sip"),
            ("<PublicIdentity><Id", "<PublicIdentity a=\"x\"><Id"),
            ("</PrivateID>", "</PrivateID><PrivateID>c@d</PrivateID>"),
            ("</Identity></P", "</Identity><Identity>sip:x@y</Identity></P"),
            ("<PrivateID>", "<Sh><PrivateID>q@r</PrivateID></Sh><PrivateID>"),
        ] {
            let mut reader = ProfileReader::default();
            let text = plain.replacen(from, to, 1);
            assert_ne!(text, plain);
            for user in ["2", "33", "444", "5"] {
                let text = text.replace("1@ims", &format!("{user}@ims")).replace("c@d", user);
                assert_eq!(reader.read(&text), UserProfile::parse(&text), "{to}");
            }
            assert_eq!(exact(&reader), 0, "{to}");
        }
    }

    #[test]
    fn the_memory_is_bounded_and_the_oldest_go_first() {
        let mut reader = ProfileReader::default();
        let of = |priority: usize, user: &str| {
            document(user).replace("<Priority>1<", &format!("<Priority>{priority}<"))
        };
        for priority in 0..100 {
            for user in ["1", "2", "3"] {
                let text = of(priority, user);
                assert_eq!(reader.read(&text), UserProfile::parse(&text));
            }
            reader.read(&of(0, "4")).unwrap();
        }
        assert_eq!((reader.shapes.len(), exact(&reader)), (SHAPES_MAX, SHAPES_MAX));
        assert!(reader.shapes[0].values(&of(0, "5")).is_some());
        let large = document(&"5".repeat(SHAPE_MAX));
        assert_eq!(reader.read(&large), UserProfile::parse(&large));
        assert!(reader.shapes[0].values(&of(0, "5")).is_some());
    }
}
