//! Flows: several registrations of one instance over different paths (RFC 5626 §6,
//! TS 24.229 §5.4.1.2.2).

use cscf_core::clause::rfc5626;
use cscf_core::registrar::{Bindings, Wish};
use cscf_core::sip::{HeaderName, NameAddr, Request, Uri};

use crate::cause;
use crate::refusal::Refusal;

/// Makes a wish one for flows, if it may be: without `outbound` in Supported or without an instance
/// `reg-id` means nothing.
pub(crate) fn check(request: &Request, wish: &mut Wish) -> Result<(), Refusal> {
    let Wish::Update(wishes) = wish else { return Ok(()) };
    let supported = request.headers.has_token(HeaderName::Supported, "outbound");
    for wish in wishes.iter_mut() {
        if !(supported && wish.address.params.has("+sip.instance")) {
            wish.address.params.remove("reg-id");
        }
    }
    let flows = wishes.iter().filter(|wish| wish.address.params.has("reg-id")).count();
    if flows == 0 {
        return Ok(());
    }
    if flows > 1 {
        let why = format!("{flows} contacts with reg-id in one REGISTER");
        let cause = cause::several_flows(flows);
        return Err(Refusal::by(400, rfc5626("6"), why).because(cause));
    }
    if !first_hop_knows(request) {
        let path = request.headers.values(HeaderName::Path).collect::<Vec<_>>().join(", ");
        let why = format!("the first hop does not know outbound: no ob in Path {path}");
        let cause = cause::first_hop(&path);
        return Err(Refusal::by(439, rfc5626("6"), why).because(cause));
    }
    Ok(())
}

/// Whether the hop next to the UE knows outbound: `ob` in the Path value that was added first,
/// which is the last one.
fn first_hop_knows(request: &Request) -> bool {
    let first = request.headers.values(HeaderName::Path).last();
    let uri = first.and_then(|path| NameAddr::parse(path).ok()).map(|address| address.uri);
    uri.as_ref().is_some_and(|uri: &Uri| uri.params().has("ob"))
}

/// How many flows the instance would have with this wish, if that is more than it may
/// (TS 24.229 §5.4.1.2.2).
pub(crate) fn too_many(bindings: &Bindings, impi: &str, wish: &Wish, max: usize) -> Option<usize> {
    let Wish::Update(wishes) = wish else { return None };
    let wish = wishes.iter().find(|wish| wish.address.params.has("reg-id"))?;
    if wish.expires.is_zero() || bindings.find(impi, &wish.address).is_some() {
        return None;
    }
    let instance = wish.address.params.unquoted("+sip.instance");
    let same = |(its, _): &(String, String)| instance.as_deref() == Some(its.as_str());
    let flows = bindings.of_user(impi).filter_map(|binding| binding.flow());
    let count = flows.filter(same).count() + 1;
    (count > max).then_some(count)
}

/// Whether a wish registers or keeps a flow.
pub(crate) fn is_flow(wish: &Wish) -> bool {
    let Wish::Update(wishes) = wish else { return false };
    wishes.iter().any(|its| its.address.params.has("reg-id") && !its.expires.is_zero())
}
