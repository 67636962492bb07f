//! The memory of header lists that are gone, for the next ones of the same thread: reading or
//! answering a message then costs no allocation for its index and none for lines of our own.
//!
//! What is kept is empty memory, so nothing of one message is seen by another, and it is bounded.

use std::cell::RefCell;

use super::line::Line;

/// The lines for which there is room at once: seldom has a message more.
const LINES_USUAL: usize = 32;
/// The bytes of our own for which there is room at once: the lines a proxy adds, or a response.
const OWN_USUAL: usize = 512;
/// What is larger is not kept.
const LINES_MAX: usize = 128;
const OWN_MAX: usize = 8_192;
/// How many are kept.
const KEPT_MAX: usize = 64;

thread_local! {
    static KEPT: RefCell<Vec<(String, Vec<Line>)>> = const { RefCell::new(Vec::new()) };
}

/// Room for lines of our own and for an index; empty.
pub(super) fn take() -> (String, Vec<Line>) {
    let kept = KEPT.try_with(|kept| kept.try_borrow_mut().ok().and_then(|mut kept| kept.pop()));
    kept.ok()
        .flatten()
        .unwrap_or_else(|| (String::with_capacity(OWN_USUAL), Vec::with_capacity(LINES_USUAL)))
}

/// Takes the memory of a list that is no longer needed.
pub(super) fn give(mut own: String, mut lines: Vec<Line>) {
    let fits = (OWN_USUAL..=OWN_MAX).contains(&own.capacity())
        && (LINES_USUAL..=LINES_MAX).contains(&lines.capacity());
    if !fits {
        return;
    }
    own.clear();
    lines.clear();
    // At the end of a thread there may be nobody left to keep it.
    let _ = KEPT.try_with(|kept| {
        if let Ok(mut kept) = kept.try_borrow_mut()
            && kept.len() < KEPT_MAX
        {
            kept.push((own, lines));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::{HeaderName, Headers};

    #[test]
    fn a_list_gets_the_memory_of_the_one_before_and_nothing_of_what_it_held() {
        let mut first = Headers::new();
        first.push(HeaderName::Subject, "one");
        let place = first.iter().next().expect("a line").line().as_ptr();
        drop(first);

        let mut second = Headers::new();
        assert!(second.is_empty());
        second.push(HeaderName::To, "two");

        let line = second.iter().next().expect("a line").line();
        assert_eq!((line, line.as_ptr()), (&b"To: two\r\n"[..], place));
        assert_eq!(second.len(), 1);
    }
}
