//! Mutants: the emulated UE with a single rule broken at a single place (`ue/mistakes.rs`), and the
//! case that is meant to find it. `docs/mutants.md` shows which cases find which.

/// A mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// Its words, as a mistake of the scenario language.
    pub name: &'static str,
    /// The cases meant for it.
    pub meant: &'static [&'static str],
}

const fn mutant(name: &'static str, meant: &'static [&'static str]) -> Mutant {
    Mutant { name, meant }
}

/// All of them.
pub const MUTANTS: &[Mutant] = &[
    mutant("accepts any network", &["ct-9.1"]),
    mutant("busy everywhere", &["ct-12.13-reject"]),
    mutant("calls again", &["ct-12.2"]),
    mutant("comes back", &["ct-11.1-rejected"]),
    mutant("deaf to hold", &["ct-15.12"]),
    mutant("deaf", &["ct-12.13-plain"]),
    mutant("delivery report to the centre", &["ct-18.2"]),
    mutant("evs last", &["ct5-7.4a"]),
    mutant("gives up", &["ct-8.11-305", "ct-8.11-408", "ct-8.11-500", "ct-8.11-504"]),
    mutant("holds inactive", &["ct-15.11", "ct-15.cw-answered"]),
    mutant("ignores cancel", &["ct-12.13-cancelled", "ct-15.cw-cancelled"]),
    mutant("ignores restoration", &["ct-12.2a"]),
    mutant("ignores retry-after", &["ct-8.10"]),
    mutant("ignores shortened", &["ct-11.2"]),
    mutant("insists", &["ct-8.11-403"]),
    mutant("keeps its binding", &["ct-8.3"]),
    mutant("lost at 423", &["ct-8.12"]),
    mutant("never cancels", &["ct-12.12-cancel"]),
    mutant("new call-id", &["ct-8.1"]),
    mutant("no ack", &["ct-12.12a"]),
    mutant("no answer", &["ct-8.1"]),
    mutant("no auts", &["ct-9.2"]),
    mutant("no back-off", &["ct-8.11-back-off"]),
    mutant("no call waiting", &["ct-15.cw-answered"]),
    mutant("no cnonce", &["ct-8.1-digest"]),
    mutant("no conf line", &["ct-12.13-conf"]),
    mutant("no delivery report", &["ct-18.2", "ct5-9.2"]),
    mutant("no des lines", &["ct-12.12-offer", "ct5-7.12"]),
    mutant("no evs", &["ct5-7.4a", "ct5-7.x-evs"]),
    mutant("no in-reply-to", &["ct-18.2"]),
    mutant("no path", &["ct-8.1"]),
    mutant("no prack", &["ct-12.12", "ct5-7.4"]),
    mutant("no reg event", &["ct-8.1"]),
    mutant("no replaces", &["ct-15.ect"]),
    mutant("no sec-agree", &["ct-8.1-protected"]),
    mutant("no service named", &["ct-12.12-offer"]),
    mutant("no service-route", &["ct-12.12-identities"]),
    mutant("no smsip tag", &["ct-18.1"]),
    mutant("notify not understood", &["ct-8.1"]),
    mutant("other clock rate", &["ct-16.x"]),
    mutant("other mode-set", &["ct-16.2"]),
    mutant("place lost in 180", &["ct5-7.x-ready", "ct-12.13a"]),
    mutant("place lost in 183", &["ct5-7.x"]),
    mutant("place lost in 200", &["ct5-7.x"]),
    mutant("place lost in bye", &["ct-12.12"]),
    mutant("place lost in subscribe", &["ct5-6.1"]),
    mutant("place lost in update", &["ct5-7.4"]),
    mutant("place lost on leaving", &["ct5-6.x"]),
    mutant("place told early", &["ct5-6.1-protected"]),
    mutant("preconditions always", &["ct5-7.5"]),
    mutant("refreshes late", &["ct-8.2", "ct-8.2-protected"]),
    mutant("refreshes long ones at half time", &["ct-8.2-long"]),
    mutant("refuses sms", &["ct-18.2"]),
    mutant("same spi", &["ct-9.1-protected"]),
    mutant("security-client differs", &["ct-8.1-protected"]),
    mutant("security-verify differs", &["ct-8.1-protected"]),
    mutant("short expiry", &["ct-8.4"]),
    mutant("silent", &["ct-12.13-plain"]),
    mutant("sms as text", &["ct-18.1", "ct5-9.1"]),
    mutant("stays away", &["ct-11.1-deactivated"]),
    mutant("stays on hold", &["ct-15.12"]),
    mutant("subscribes at once", &["ct-10.1"]),
    mutant("unknown bye", &["ct-12.12-remote-bye"]),
    mutant("unreliable", &["ct-12.13"]),
    mutant("verify lost on leaving", &["ct-8.3-protected"]),
    mutant("verify lost on refresh", &["ct-8.2-protected"]),
    mutant("wrong key", &["ct-8.1"]),
    mutant("wrong place", &["ct5-6.1"]),
    mutant("wrong rack", &["ct-12.12"]),
    mutant("wrong res", &["ct-8.1", "ct-gen-010"]),
    mutant("wrong rp-mr", &["ct-18.2"]),
];

impl Mutant {
    /// The mutant with this name; hyphens may stand for spaces.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        let plain = |text: &str| text.replace('-', " ");
        MUTANTS.iter().find(|mutant| plain(mutant.name) == plain(name))
    }
}
