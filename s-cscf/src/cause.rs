//! What to tell whoever was refused at an S-CSCF: the value that came, the value wanted, and what
//! to change. Each is made where the decision is, of the values that decided it.

use cscf_core::auth::Credentials;
use cscf_core::cx::CxResult;
use cscf_core::trace::Diagnosis;

use crate::register::Register;

/// The answer to a challenge was not right.
pub(crate) fn wrong_answer(register: &Register, why: &str) -> Diagnosis {
    if !register.has_response() {
        return Diagnosis::new(register.impi.as_str(), "the card accepts the MAC of our challenge")
            .theirs("an answer without response: to the card the MAC is wrong")
            .ours("a challenge made with K and OPc of the HSS")
            .change("K, or OP/OPc: those of the card and of the subscriber in the lab must be one; `cscf aka` says which differs");
    }
    let credentials = register.credentials.as_ref();
    let came = credentials.and_then(Credentials::response).map(|it| it.to_string());
    Diagnosis::new(register.impi.as_str(), "the response fits the challenge")
        .theirs(format!("response {}", came.unwrap_or_default()))
        .ours(why)
        .change("the password, or what the phone computes its response from: nonce, uri, algorithm, RES as binary")
}

/// The card was out of step again and again.
pub(crate) fn out_of_step(impi: &str, resyncs: u8, max: u8) -> Diagnosis {
    Diagnosis::new(impi, "the card accepts the sequence number after a resynchronisation")
        .theirs(format!("AUTS {resyncs} times in a row"))
        .ours(format!("at most {max}"))
        .change("the freshness check of the card (its limit and IND), or its SQN; the HSS notes both numbers")
}

/// Nobody answered the challenge.
pub(crate) fn no_answer(impi: &str, seconds: u64) -> Diagnosis {
    Diagnosis::new(impi, "an answer to the 401")
        .theirs(format!("nothing within {seconds} s"))
        .ours("a REGISTER with Authorization")
        .change("see what the P-CSCF got after the 401 (SYN, ESP, clear text on a protected port?), and whether the phone reports an authentication failure")
}

/// An extension is required that nobody here has.
pub(crate) fn unknown_extension(impu: &str, required: &str, known: &str) -> Diagnosis {
    Diagnosis::new(impu, "every option tag in Require is known")
        .theirs(format!("Require: {required}"))
        .ours(known)
        .change("Require of the phone's REGISTER: say it in Supported, if it can do without")
}

/// The time asked for is too short.
pub(crate) fn too_brief(impu: &str, asked: &u32, min: &u32) -> Diagnosis {
    Diagnosis::new(impu, "the time asked for is long enough")
        .theirs(format!("{asked} s"))
        .ours(format!("at least {min} s"))
        .change("Expires in the phone (it should come again with Min-Expires), or `expires_min` in the lab")
}

/// A protected REGISTER names a contact that was not registered over its security association.
pub(crate) fn new_contact(register: &Register, bound: &str) -> Diagnosis {
    let came = register.request.headers.get(cscf_core::sip::HeaderName::Contact);
    Diagnosis::new(register.impi.as_str(), "Contact is the one that was authenticated")
        .theirs(came.unwrap_or_default())
        .ours(bound)
        .change("the phone: register a new address in the clear first, or use outbound (reg-id)")
}

/// The HSS does not do what was asked.
pub(crate) fn hss_refuses(result: CxResult) -> Diagnosis {
    Diagnosis::new("", "the HSS lets this S-CSCF serve the user")
        .theirs(format!("the HSS says {result}"))
        .ours("a question about the user that it served or is to serve")
        .change("the subscriber at the HSS; after a restart of the HSS, which forgets who serves whom, the phone has to register anew")
}

/// The HSS gives no answer of use.
pub(crate) fn hss_fails(why: &str) -> Diagnosis {
    Diagnosis::new("", "the HSS answers")
        .theirs(why)
        .ours("a question without which nobody can be registered")
        .change("whether the HSS runs and is reached (its address in the lab, `hss` in the trace)")
}

/// A REGISTER that is no newer than the last one.
pub(crate) fn out_of_order(why: &str) -> Diagnosis {
    Diagnosis::new("", "the CSeq is above the last one of this Call-ID")
        .theirs(why)
        .ours("a REGISTER that was worked on already")
        .change("nothing if a node on the way has started anew and let a repeated REGISTER through twice; else the CSeq of the phone")
}
