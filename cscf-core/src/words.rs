//! Words as people write them: the one that was meant, and spans of time.

use crate::time::Duration;

/// The candidate nearest to `word` by edit distance, if it is near enough to be what was meant.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let candidates = candidates.into_iter();
    let near = candidates.filter_map(|candidate| Some((nearness(word, candidate)?, candidate)));
    near.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// The edit distance of two words, if they are near enough for one to be meant by the other.
#[must_use]
pub fn nearness(word: &str, candidate: &str) -> Option<usize> {
    let limit = limit(word);
    Some(distance(word, candidate, limit)).filter(|distance| *distance <= limit)
}

/// As far apart as two words may be.
fn limit(word: &str) -> usize {
    (word.len() / 3).max(1) + 1
}

/// The number nearest to `word` among those from `first` to `last` with `width` digits each, and
/// its distance, if it is near enough: the least of the nearest. No number is tried: the digits are
/// walked from the left, and where they are free all at once.
#[must_use]
pub fn nearest_number(
    word: &str,
    (first, last): (u64, u64),
    width: usize,
) -> Option<(usize, String)> {
    let letters: Vec<char> = word.to_lowercase().chars().collect();
    let limit = limit(word);
    if letters.len().abs_diff(width) > limit || first > last {
        return None;
    }
    let digits = |value: u64| format!("{value:0width$}").into_bytes();
    let search = Search { letters: &letters };
    let row = (0..=letters.len()).collect();
    let (low, high) = (digits(first), digits(last));
    let found = search.least(Place { row, written: String::new() }, &low, &high)?;
    (found.distance <= limit).then(|| (found.distance, search.written(found)))
}

/// The search of the nearest number.
struct Search<'a> {
    letters: &'a [char],
}

/// The digits that are written, with their distances to each beginning of the word.
#[derive(Clone)]
struct Place {
    row: Vec<usize>,
    written: String,
}

/// The nearest: what is written, and how many digits follow that are free.
struct Nearest {
    distance: usize,
    place: Place,
    free: usize,
}

impl Search<'_> {
    fn step(&self, row: &[usize], digit: u8) -> Vec<usize> {
        let mut row = row.to_vec();
        advance(&mut row, char::from(digit), self.letters);
        row
    }

    /// The least distance when any `left` digits follow.
    fn any(&self, row: &[usize], left: usize) -> usize {
        let mut row = row.to_vec();
        for _ in 0..left {
            let rows = (b'0'..=b'9').map(|digit| self.step(&row, digit));
            let both = |one: Vec<usize>, other: Vec<usize>| {
                one.into_iter().zip(other).map(|(one, other)| one.min(other)).collect()
            };
            row = rows.reduce(both).unwrap_or_default();
        }
        row.last().copied().unwrap_or_default()
    }

    fn follow(&self, place: &Place, digit: u8) -> Place {
        let mut written = place.written.clone();
        written.push(char::from(digit));
        Place { row: self.step(&place.row, digit), written }
    }

    /// The nearest when what follows is from `low` to `high`, as many digits each.
    fn least(&self, place: Place, low: &[u8], high: &[u8]) -> Option<Nearest> {
        let (Some((from, lower)), Some((to, higher))) = (low.split_first(), high.split_first())
        else {
            let distance = place.row.last().copied()?;
            return Some(Nearest { distance, place, free: 0 });
        };
        let all = |digits: &[u8], digit: u8| digits.iter().all(|it| *it == digit);
        if all(low, b'0') && all(high, b'9') {
            let distance = self.any(&place.row, low.len());
            return Some(Nearest { distance, place, free: low.len() });
        }
        let (zeros, nines) = (vec![b'0'; lower.len()], vec![b'9'; lower.len()]);
        let each = (*from..=*to).filter_map(|digit| {
            let lower = if digit == *from { lower } else { &zeros };
            let higher = if digit == *to { higher } else { &nines };
            self.least(self.follow(&place, digit), lower, higher)
        });
        each.min_by_key(|it| it.distance)
    }

    /// All its digits: of those that are free, the least that are as near.
    fn written(&self, Nearest { distance, mut place, free }: Nearest) -> String {
        for left in (0..free).rev() {
            let mut each = (b'0'..=b'9').map(|digit| self.follow(&place, digit));
            match each.find(|next| self.any(&next.row, left) == distance) {
                Some(next) => place = next,
                None => break,
            }
        }
        place.written
    }
}

/// Levenshtein distance without regard to case; gives up above `limit`.
fn distance(a: &str, b: &str, limit: usize) -> usize {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let b: Vec<char> = b.chars().collect();
    if a.chars().count().abs_diff(b.len()) > limit {
        return limit + 1;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    a.chars().for_each(|letter| advance(&mut row, letter, &b));
    row.last().copied().unwrap_or_default()
}

/// One letter more: `row` has the distances to each beginning of `word`.
fn advance(row: &mut [usize], letter: char, word: &[char]) {
    let mut diagonal = row.first().copied().unwrap_or_default();
    let mut left = diagonal + 1;
    for (cell, to) in row.iter_mut().skip(1).zip(word) {
        let change = diagonal + usize::from(letter != *to);
        diagonal = *cell;
        *cell = change.min(diagonal + 1).min(left + 1);
        left = *cell;
    }
    if let Some(first) = row.first_mut() {
        *first += 1;
    }
}

/// Reads a span of time: `500ms`, `4s`, `10min`, `2h`.
///
/// # Errors
///
/// A text that says what would be right.
pub fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let split = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let count: u64 =
        number.parse().map_err(|_| format!("`{text}` is no time; write 500ms, 4s, 10min or 2h"))?;
    let millis = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("`{text}` needs a unit: ms, s, min or h")),
    };
    count
        .checked_mul(millis)
        .filter(|millis| *millis <= 1_000_000_000_000)
        .map(Duration::from_millis)
        .ok_or_else(|| format!("`{text}` is longer than any run"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_proposed_and_a_far_one_is_not() {
        assert_eq!(nearest("subcribers", ["subscribers", "nodes"]), Some("subscribers"));
        assert_eq!(nearest("lisen", ["listen", "role"]), Some("listen"));
        assert_eq!(nearest("xyzzy", ["listen", "role"]), None);
        assert_eq!(distance("kitten", "sitting", 9), 3);
    }

    #[test]
    fn the_nearest_number_is_what_trying_each_finds() {
        for (word, first, last) in [
            ("00105", 98, 131),
            ("000117", 98, 131),
            ("00o112", 98, 131),
            ("000131", 98, 131),
            ("999999", 98, 999_998),
            ("12", 98, 131),
            ("alice", 98, 131),
            ("010205", 10_199, 30_000),
        ] {
            let all: Vec<String> = (first..=last).map(|value| format!("{value:06}")).collect();
            let tried = nearest(word, all.iter().map(String::as_str));
            let found = nearest_number(word, (first, last), 6);
            assert_eq!(found.as_ref().map(|(_, found)| found.as_str()), tried, "{word}");
            assert_eq!(found.map(|(it, _)| it), tried.and_then(|it| nearness(word, it)), "{word}");
        }
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("600000s"), Ok(Duration::from_secs(600_000)));
        assert!(duration("5").expect_err("unit").contains("needs a unit"));
        assert!(duration("99999999999999999999h").is_err());
    }
}
