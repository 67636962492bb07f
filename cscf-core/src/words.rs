//! Words as people write them: the one that was meant, and spans of time.

use crate::time::Duration;

/// The candidate nearest to `word` by edit distance, if it is near enough to be what was meant.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.len() / 3).max(1) + 1;
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate, limit), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance without regard to case; gives up above `limit`.
fn distance(a: &str, b: &str, limit: usize) -> usize {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    if a.chars().count().abs_diff(b.chars().count()) > limit {
        return limit + 1;
    }
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(b.chars()) {
            let change = diagonal + usize::from(from != to);
            diagonal = *cell;
            *cell = change.min(diagonal + 1).min(left + 1);
            left = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
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
    fn times_have_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("600000s"), Ok(Duration::from_secs(600_000)));
        assert!(duration("5").expect_err("unit").contains("needs a unit"));
        assert!(duration("99999999999999999999h").is_err());
    }
}
