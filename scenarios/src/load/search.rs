//! The search for the highest rate that goes well: doubling, then bisection.

/// How a try at a rate went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was lost, sent again or refused.
    Holds,
    /// Something was.
    Fails,
    /// The generator itself was late, lost packets or took too much CPU: the try says nothing.
    GeneratorIsTheLimit,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    /// A try at this rate.
    Try(f64),
    /// The search is over: the highest rate that held, if one did.
    Found(Option<f64>),
    /// The search is over, because the generator can no more; so much held.
    Limit(Option<f64>),
}

/// When the rate that held and the one that did not are so near, the search is over.
const NEAR: f64 = 1.05;
/// Below this rate nothing is tried.
const LEAST: f64 = 1.0;

/// A search.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    rate: f64,
    held: Option<f64>,
    failed: Option<f64>,
    /// Whether the rate that is tried failed once: a single mishap is tried again.
    once: bool,
    limit: bool,
}

impl Search {
    /// Begins at this rate.
    #[must_use]
    pub const fn new(rate: f64) -> Self {
        Self { rate, held: None, failed: None, once: false, limit: false }
    }

    /// Goes on after a try.
    pub fn after(&mut self, verdict: Verdict) -> Next {
        match verdict {
            Verdict::Holds => self.held = Some(self.rate),
            // On a busy machine a single try may fail for reasons of its own.
            _ if !self.once => {
                self.once = true;
                return Next::Try(self.rate);
            }
            Verdict::Fails => (self.failed, self.limit) = (Some(self.rate), false),
            Verdict::GeneratorIsTheLimit => (self.failed, self.limit) = (Some(self.rate), true),
        }
        self.once = false;
        self.rate = match (self.held, self.failed) {
            (Some(held), Some(failed)) if failed / held < NEAR => return self.end(),
            (Some(held), Some(failed)) => (held + failed) / 2.0,
            (Some(held), None) => held * 2.0,
            (None, Some(failed)) if failed / 2.0 < LEAST => return self.end(),
            (None, Some(failed)) => failed / 2.0,
            (None, None) => self.rate,
        };
        Next::Try(self.rate)
    }

    /// Ends the search here.
    #[must_use]
    pub const fn end(&self) -> Next {
        if self.limit { Next::Limit(self.held) } else { Next::Found(self.held) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(of: impl Fn(f64) -> Verdict) -> (Next, u32) {
        let mut search = Search::new(100.0);
        let (mut rate, mut tries) = (100.0, 0);
        loop {
            tries += 1;
            match search.after(of(rate)) {
                Next::Try(next) => rate = next,
                end => return (end, tries),
            }
        }
    }

    #[test]
    fn the_maximum_is_found_from_below_and_from_above() {
        for maximum in [3.0, 150.0, 1234.0, 40_000.0] {
            let holds = |rate| if rate <= maximum { Verdict::Holds } else { Verdict::Fails };
            let (Next::Found(Some(found)), tries) = search(holds) else { panic!("{maximum}") };
            assert!(found <= maximum && found * NEAR >= maximum, "{found} {maximum}");
            assert!(tries < 40, "{tries}");
        }
    }

    #[test]
    fn what_never_holds_has_no_maximum_and_ends() {
        assert_eq!(search(|_| Verdict::Fails).0, Next::Found(None));
    }

    #[test]
    fn a_generator_at_its_end_makes_no_maximum() {
        let limit = |rate| match rate <= 300.0 {
            true => Verdict::Holds,
            false => Verdict::GeneratorIsTheLimit,
        };
        let (Next::Limit(Some(held)), _) = search(limit) else { panic!("no limit") };
        assert!(held <= 300.0);
    }
}
