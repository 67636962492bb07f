//! All subscribers of a lab: those that stand there one by one, and ranges, which stay ranges. A
//! member of a range is made when somebody asks for it, and who it is is arithmetic.

use std::borrow::Cow;

use super::range::SubscriberRange;
use super::subscriber::SubscriberConfig;
use crate::identity::ImsiRange;
use crate::words::{nearest_number, nearness};

/// The subscribers of a lab, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscribers {
    listed: Vec<SubscriberConfig>,
    ranges: Vec<Placed>,
}

/// A range, and how many listed subscribers come before it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Placed {
    before: usize,
    range: SubscriberRange,
}

/// Subscribers that stand together.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// One by one.
    Listed(&'a [SubscriberConfig]),
    /// A range.
    Range(&'a SubscriberRange),
}

/// Where a subscriber stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriberPlace {
    /// Among those listed.
    Listed(usize),
    /// The range, and the member of it.
    Range(usize, u64),
}

impl Part<'_> {
    fn count(&self) -> usize {
        match self {
            Self::Listed(listed) => listed.len(),
            Self::Range(range) => range.count(),
        }
    }
}

impl<'a> Part<'a> {
    fn get(self, number: usize) -> Option<Cow<'a, SubscriberConfig>> {
        match self {
            Self::Listed(listed) => listed.get(number).map(Cow::Borrowed),
            Self::Range(range) => range.member(u64::try_from(number).ok()?).map(Cow::Owned),
        }
    }

    fn name(self, number: usize) -> Option<Cow<'a, str>> {
        match self {
            Self::Listed(listed) => listed.get(number).map(|one| one.name.as_str().into()),
            Self::Range(range) => {
                let member = u64::try_from(number).ok().filter(|it| *it < range.imsis.count())?;
                Some(range.imsis.imsi(member).into())
            }
        }
    }
}

impl Subscribers {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.listed.len() + self.ranges.iter().map(|it| it.range.count()).sum::<usize>()
    }

    /// Whether there is nobody.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.listed.is_empty() && self.ranges.is_empty()
    }

    /// Those that stand there one by one. Only they have wishes and services of their own.
    #[must_use]
    pub fn listed(&self) -> &[SubscriberConfig] {
        &self.listed
    }

    /// As [`Self::listed`], to be changed.
    #[must_use]
    pub fn listed_mut(&mut self) -> &mut [SubscriberConfig] {
        &mut self.listed
    }

    /// The ranges.
    pub fn ranges(&self) -> impl Iterator<Item = &SubscriberRange> + Clone {
        self.ranges.iter().map(|it| &it.range)
    }

    /// Listed subscribers and ranges as they follow each other.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> + Clone {
        let ends = self.ranges.iter().map(|it| it.before).chain([self.listed.len()]);
        let starts = std::iter::once(0).chain(self.ranges.iter().map(|it| it.before));
        let ranges = self.ranges().map(Some).chain([None]);
        starts.zip(ends).zip(ranges).flat_map(|((start, end), range)| {
            let listed = self.listed.get(start..end).unwrap_or_default();
            let listed = Some(listed).filter(|listed| !listed.is_empty()).map(Part::Listed);
            listed.into_iter().chain(range.map(Part::Range))
        })
    }

    /// One by its number in the order of the file, from 0.
    #[must_use]
    pub fn at(&self, mut number: usize) -> Option<Cow<'_, SubscriberConfig>> {
        for part in self.parts() {
            match number.checked_sub(part.count()) {
                Some(rest) => number = rest,
                None => return part.get(number),
            }
        }
        None
    }

    /// Everybody, each made when its turn comes.
    pub fn iter(&self) -> impl Iterator<Item = Cow<'_, SubscriberConfig>> + Clone {
        self.parts().flat_map(|part| (0..part.count()).filter_map(move |at| part.get(at)))
    }

    /// The names of all, each made when its turn comes.
    pub fn names(&self) -> impl Iterator<Item = Cow<'_, str>> + Clone {
        self.parts().flat_map(|part| (0..part.count()).filter_map(move |at| part.name(at)))
    }

    /// The first that is meant, listed or in a range.
    fn find(
        &self,
        is: impl Fn(&SubscriberConfig) -> bool,
        within: impl Fn(&ImsiRange) -> Option<u64>,
    ) -> Option<SubscriberPlace> {
        let (mut listed, mut ranges) = (0, 0);
        for part in self.parts() {
            match part {
                Part::Listed(some) => {
                    if let Some(at) = some.iter().position(&is) {
                        return Some(SubscriberPlace::Listed(listed + at));
                    }
                    listed += some.len();
                }
                Part::Range(range) => {
                    if let Some(member) = within(&range.imsis) {
                        return Some(SubscriberPlace::Range(ranges, member));
                    }
                    ranges += 1;
                }
            }
        }
        None
    }

    /// Where the subscriber with this name is.
    #[must_use]
    pub fn place_named(&self, name: &str) -> Option<SubscriberPlace> {
        self.find(|one| one.name == name, |imsis| imsis.of_imsi(name))
    }

    /// Where the subscriber with this private identity is.
    #[must_use]
    pub fn place_of_impi(&self, impi: &str) -> Option<SubscriberPlace> {
        self.find(|one| one.impi == impi, |imsis| imsis.of_impi(impi))
    }

    /// Who stands at a place.
    #[must_use]
    pub fn get(&self, place: SubscriberPlace) -> Option<Cow<'_, SubscriberConfig>> {
        match place {
            SubscriberPlace::Listed(at) => self.listed.get(at).map(Cow::Borrowed),
            SubscriberPlace::Range(at, member) => {
                self.ranges.get(at)?.range.member(member).map(Cow::Owned)
            }
        }
    }

    /// The subscriber with this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<Cow<'_, SubscriberConfig>> {
        self.get(self.place_named(name)?)
    }

    /// The subscriber with this private identity.
    #[must_use]
    pub fn of_impi(&self, impi: &str) -> Option<Cow<'_, SubscriberConfig>> {
        self.get(self.place_of_impi(impi)?)
    }

    /// The subscriber with this name, or this private identity.
    #[must_use]
    pub fn known_as(&self, who: &str) -> Option<Cow<'_, SubscriberConfig>> {
        let within = |imsis: &ImsiRange| imsis.of_imsi(who).or_else(|| imsis.of_impi(who));
        self.get(self.find(|one| one.name == who || one.impi == who, within)?)
    }

    /// The subscriber with this name, private or public identity, as the lab writes them.
    #[must_use]
    pub fn with_identity(&self, text: &str) -> Option<Cow<'_, SubscriberConfig>> {
        let is = |one: &SubscriberConfig| {
            one.name == text || one.impi == text || one.impus.iter().any(|it| it.uri == text)
        };
        let within = |imsis: &ImsiRange| {
            let by_name = imsis.of_imsi(text).or_else(|| imsis.of_impi(text));
            by_name.or_else(|| imsis.of_impu(text))
        };
        self.get(self.find(is, within)?)
    }

    /// The name nearest to a word, if it is near enough to be what was meant; `before` are other
    /// names that could be, which count first.
    #[must_use]
    pub fn nearest<'a>(
        &'a self,
        word: &str,
        before: impl IntoIterator<Item = &'a str>,
    ) -> Option<Cow<'a, str>> {
        let mut best: Option<(usize, Cow<'a, str>)> = None;
        let mut take = |distance: Option<usize>, name: Cow<'a, str>| {
            if let Some(distance) = distance
                && best.as_ref().is_none_or(|(least, _)| distance < *least)
            {
                best = Some((distance, name));
            }
        };
        for name in before {
            take(nearness(word, name), name.into());
        }
        for part in self.parts() {
            match part {
                Part::Listed(listed) => {
                    listed.iter().for_each(|it| take(nearness(word, &it.name), (&it.name).into()));
                }
                Part::Range(SubscriberRange { imsis, .. }) => {
                    let (first, last) = imsis.values().into_inner();
                    let found = nearest_number(word, (first, last), imsis.width());
                    if let Some((distance, name)) = found {
                        take(Some(distance), name.into());
                    }
                }
            }
        }
        best.map(|(_, name)| name)
    }

    /// One more behind all others.
    pub fn push(&mut self, one: SubscriberConfig) {
        self.listed.push(one);
    }

    /// So many more behind all others.
    pub fn push_range(&mut self, range: SubscriberRange) {
        self.ranges.push(Placed { before: self.listed.len(), range });
    }

    /// Puts another one in the place of a subscriber, or nobody. A range falls apart around it.
    pub fn replace(&mut self, place: SubscriberPlace, new: Option<SubscriberConfig>) {
        match place {
            SubscriberPlace::Listed(at) => match (self.listed.get_mut(at), new) {
                (Some(one), Some(new)) => *one = new,
                (Some(_), None) => {
                    self.listed.remove(at);
                    let behind = self.ranges.iter_mut().filter(|it| it.before > at);
                    behind.for_each(|it| it.before -= 1);
                }
                (None, _) => {}
            },
            SubscriberPlace::Range(at, member) => {
                let Some(Placed { before, range }) = self.ranges.get(at).cloned() else { return };
                let (low, high) = range.imsis.without(member);
                let more = usize::from(new.is_some());
                let behind = self.ranges.iter_mut().skip(at + 1);
                behind.for_each(|it| it.before += more);
                if let Some(new) = new {
                    self.listed.insert(before, new);
                }
                let rest = [(before, low), (before + more, high)];
                let rest = rest.into_iter().filter_map(|(before, imsis)| {
                    let range = SubscriberRange { imsis: imsis?, ..range.clone() };
                    Some(Placed { before, range })
                });
                self.ranges.splice(at..=at, rest);
            }
        }
    }

    /// Nobody any more.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

impl From<Vec<SubscriberConfig>> for Subscribers {
    fn from(listed: Vec<SubscriberConfig>) -> Self {
        Self { listed, ranges: Vec::new() }
    }
}

impl Extend<SubscriberConfig> for Subscribers {
    fn extend<I: IntoIterator<Item = SubscriberConfig>>(&mut self, more: I) {
        self.listed.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::super::lab::Lab;
    use super::super::subscriber::Auth;
    use super::*;

    fn range(imsi: &str, count: u64) -> SubscriberRange {
        let imsis = ImsiRange::new(imsi, count, Some(15_550_100), "ims.example").expect("a range");
        SubscriberRange { imsis, auth: Auth::Aka { k: [0; 16], opc: [0; 16], amf: [0; 2], sqn: 0 } }
    }

    /// alice, three of a range, bob, two of another, carol, dave.
    fn some() -> Subscribers {
        let lab = Lab::default_lab();
        let mut out = Subscribers::default();
        for one in lab.subscribers.listed() {
            match one.name.as_str() {
                "bob" => out.push_range(range("001010000000100", 3)),
                "carol" => out.push_range(range("001010000000500", 2)),
                _ => {}
            }
            out.push(one.clone());
        }
        out
    }

    fn names(all: &Subscribers) -> String {
        let names: Vec<String> = all.names().map(|name| name.replace("00101000000", "-")).collect();
        assert_eq!(names.len(), all.count());
        let made: Vec<String> = all.iter().map(|it| it.name.replace("00101000000", "-")).collect();
        assert_eq!(made, names);
        assert!(all.iter().enumerate().all(|(at, one)| all.at(at).as_ref() == Some(&one)));
        assert_eq!(all.at(all.count()), None);
        names.join(" ")
    }

    #[test]
    fn everybody_is_there_in_the_order_of_the_file() {
        let all = some();
        assert_eq!(names(&all), "alice -0100 -0101 -0102 bob -0500 -0501 carol dave");
        for one in all.iter() {
            let impus = one.impus.iter().map(|it| it.uri.as_str());
            for text in [one.name.as_str(), one.impi.as_str()].into_iter().chain(impus) {
                let found = all.with_identity(text).expect(text);
                // The second range has the numbers of the first, too.
                let same = found == one || text.contains("+155501");
                assert!(same, "{text}: {}", found.name);
            }
            assert_eq!(all.named(&one.name).as_deref(), Some(&*one));
            assert_eq!(all.of_impi(&one.impi).as_deref(), Some(&*one));
            assert_eq!(all.known_as(&one.impi), all.known_as(&one.name));
        }
        assert_eq!(all.named("001010000000103"), None);
        assert_eq!(all.with_identity("sip:001010000000502@ims.example"), None);
    }

    #[test]
    fn one_that_goes_or_changes_takes_no_other_along() {
        let mut all = some();
        let at = |all: &Subscribers, name: &str| all.place_named(name).expect("there");
        let other = SubscriberConfig {
            name: "x".to_owned(),
            ..all.named("001010000000101").expect("one").into_owned()
        };
        all.replace(at(&all, "001010000000101"), Some(other));
        assert_eq!(names(&all), "alice -0100 x -0102 bob -0500 -0501 carol dave");
        all.replace(at(&all, "alice"), None);
        all.replace(at(&all, "001010000000500"), None);
        assert_eq!(names(&all), "-0100 x -0102 bob -0501 carol dave");
        all.replace(at(&all, "001010000000501"), None);
        all.replace(at(&all, "001010000000100"), None);
        assert_eq!(names(&all), "x -0102 bob carol dave");
        assert_eq!(all.ranges().count(), 1);
    }

    #[test]
    fn the_nearest_name_may_be_one_of_a_range() {
        let all = some();
        let near = |word: &str| all.nearest(word, ["p1"]).map(Cow::into_owned);
        assert_eq!(near("alicia").as_deref(), Some("alice"));
        assert_eq!(near("p2").as_deref(), Some("p1"));
        assert_eq!(near("00101000000501").as_deref(), Some("001010000000501"));
        assert_eq!(near("001010000000109").as_deref(), Some("001010000000100"));
        assert_eq!(near("somebody else"), None);
    }
}
