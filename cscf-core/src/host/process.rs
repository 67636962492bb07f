//! What a process of nodes or of UEs asks of the system before it begins.

/// Above so many subscribers there is more to look at than to clear: page tables are read more
/// often than a huge page is cleared.
const MANY_SUBSCRIBERS: usize = 200_000;

/// Asks for what many connections and much traffic need: files, and memory that comes evenly. In a
/// lab of more than 200,000 subscribers the system may give huge pages. Where it says no it is left
/// as it was.
pub fn prepare_process(subscribers: usize) {
    raise_file_limit();
    if subscribers <= MANY_SUBSCRIBERS {
        take_small_pages();
    }
}

/// Lets this process open as many files as the system allows it: each connection is one.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// How many files this process may open now, and how many it may allow itself.
#[must_use]
pub fn file_limits() -> Option<(u64, u64)> {
    use nix::sys::resource::{Resource, getrlimit};
    getrlimit(Resource::RLIMIT_NOFILE).ok()
}

/// What the allocator reads too (<https://microsoft.github.io/mimalloc/environment.html>).
#[cfg(target_os = "linux")]
const ALLOWS_HUGE_PAGES: &str = "MIMALLOC_ALLOW_THP";

/// Does without huge pages, also for the processes that this one starts: one is cleared as a whole,
/// 2 MB while messages wait, and falls apart again where a part of it is given back. Who wants them
/// sets the variable to 1.
#[cfg(target_os = "linux")]
fn take_small_pages() {
    if std::env::var_os(ALLOWS_HUGE_PAGES).is_none() {
        let _ = nix::sys::prctl::set_thp_disable(true);
    }
}

/// Other systems are left as they are.
#[cfg(not(target_os = "linux"))]
const fn take_small_pages() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_prepared_process_has_small_pages_and_all_files_it_may_have() {
        prepare_process(MANY_SUBSCRIBERS);
        let (now, most) = file_limits().expect("limits");
        assert_eq!(now, most);
        let chosen = std::env::var_os(ALLOWS_HUGE_PAGES).is_some();
        assert!(chosen || nix::sys::prctl::get_thp_disable() == Ok(true));
    }
}
