//! The response context, event by event.

use super::*;
use crate::sip::HeaderName;
use crate::transaction::testing::invite;

const START: Instant = Instant::from_secs(1000);

fn context(settings: ContextSettings) -> ResponseContext {
    ResponseContext::new(&invite("z9hG4bK1"), settings)
}

fn upstream(out: &[ContextAction]) -> Vec<&Response> {
    let responses = out.iter().filter_map(|action| match action {
        ContextAction::Upstream(response) => Some(&**response),
        _ => None,
    });
    responses.collect()
}

// T-PRX-070
#[test]
fn timer_c_starts_anew_with_each_provisional_response_but_100() {
    let mut context = context(ContextSettings::default());
    let branch = context.open_branch(START).expect("open");
    assert!(TIMER_C > Duration::from_secs(180));
    assert_eq!(context.poll_timeout(), Some(START + TIMER_C));

    let mut out = Vec::new();
    let later = START + Duration::from_secs(100);
    context.on_response(later, branch, 100, &mut out);
    assert_eq!(context.poll_timeout(), Some(START + TIMER_C));
    context.on_response(later, branch, 101, &mut out);
    assert_eq!(context.poll_timeout(), Some(later + TIMER_C));
    context.on_response(later, branch, 486, &mut out);
    assert_eq!(context.poll_timeout(), None);
}

// S-TER-060
#[test]
fn the_losers_are_told_why_they_are_cancelled() {
    for (status, expected) in [
        (200, "SIP;cause=200;text=\"Call completed elsewhere\""),
        (603, "SIP;cause=603;text=\"Decline\""),
    ] {
        let mut context = context(ContextSettings::default());
        let winner = context.open_branch(START).expect("open");
        let loser = context.open_branch(START).expect("open");
        let mut out = Vec::new();
        context.on_response(START, loser, 180, &mut out);
        context.on_response(START, winner, status, &mut out);
        context.pass_up(winner, context.made_here(status), &mut out);

        let cancelled = out.iter().find_map(|action| match action {
            ContextAction::Cancel { branch, reason } => Some((*branch, reason.as_deref())),
            _ => None,
        });
        assert_eq!(cancelled, Some((loser, Some(expected))));
    }
}

#[test]
fn a_role_may_try_the_next_target_instead_of_handing_a_failure_up() {
    let mut context = context(ContextSettings::default());
    let first = context.open_branch(START).expect("open");
    let mut out = Vec::new();
    context.on_response(START, first, 480, &mut out);
    let second = context.open_branch(START).expect("open");
    context.settle(&mut out);
    context.on_response(START, second, 404, &mut out);
    context.settle(&mut out);
    assert!(upstream(&out).is_empty(), "nothing was handed up");

    context.pass_up(second, context.made_here(404), &mut out);
    context.settle(&mut out);
    assert_eq!(upstream(&out).iter().map(|it| it.status).collect::<Vec<_>>(), [404]);
}

#[test]
fn a_503_passes_where_the_whole_service_is_down() {
    let settings = ContextSettings { pass_503: true, ..ContextSettings::default() };
    for (settings, expected) in [(settings, 503), (ContextSettings::default(), 500)] {
        let mut context = context(settings);
        let branch = context.open_branch(START).expect("open");
        let mut unavailable = context.made_here(503);
        unavailable.headers.push(HeaderName::RetryAfter, "30");
        let mut out = Vec::new();
        context.on_response(START, branch, 503, &mut out);
        context.pass_up(branch, unavailable, &mut out);
        context.settle(&mut out);
        let sent = upstream(&out);
        assert_eq!(sent.iter().map(|it| it.status).collect::<Vec<_>>(), [expected]);
        let kept = sent.iter().any(|it| it.headers.contains(HeaderName::RetryAfter));
        assert_eq!(kept, expected == 503);
    }
}

#[test]
fn branches_are_bounded() {
    let settings = ContextSettings { branches_max: 2, ..ContextSettings::default() };
    let mut context = context(settings);
    assert!(context.open_branch(START).is_ok());
    assert!(context.open_branch(START).is_ok());
    assert_eq!(context.open_branch(START), Err(BranchRefused::TooMany));
}

#[test]
fn a_context_that_is_over_keeps_nothing_and_still_passes_a_repeated_2xx() {
    let mut context = context(ContextSettings::default());
    let branch = context.open_branch(START).expect("open");
    let ok = context.made_here(200);
    let mut out = Vec::new();
    context.retire();
    assert!(context.template.is_some(), "a branch is open");
    context.on_response(START, branch, 200, &mut out);
    context.pass_up(branch, ok.clone(), &mut out);

    context.retire();

    assert!(context.template.is_none());
    assert_eq!(context.branches.capacity(), 0);
    out.clear();
    context.on_response(START, branch, 200, &mut out);
    context.pass_up(branch, ok, &mut out);
    context.settle(&mut out);
    assert_eq!(upstream(&out).iter().map(|it| it.status).collect::<Vec<_>>(), [200]);
    assert!(context.is_over());
    assert_eq!(context.open_branch(START), Err(BranchRefused::Closed));
}

#[test]
fn a_response_made_here_belongs_to_the_request() {
    let request = invite("z9hG4bK1");
    let response = ResponseContext::new(&request, ContextSettings::default()).made_here(487);
    assert_eq!((response.status, &*response.reason), (487, "Request Terminated"));
    let vias = |headers: &Headers| -> Vec<String> {
        headers.values(HeaderName::Via).map(str::to_owned).collect()
    };
    assert_eq!(vias(&response.headers), vias(&request.headers));
    assert_eq!(response.call_id(), request.call_id());
}
