//! The sentences of the scenario language as patterns, for editors. The reader of
//! `script/sentence.rs` is what counts; tests hold both together.

/// What may stand under a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Under {
    /// Nothing.
    Nothing,
    /// `with`: headers that a command sends.
    With,
    /// Headers and parts of a request.
    Request,
    /// Conditions on a message.
    Message,
    /// Conditions on a decision.
    Note,
    /// Conditions on a diagnosis.
    Diagnosis,
}

/// One kind of sentence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sentence {
    /// An example, as an editor proposes it.
    pub(super) example: &'static str,
    /// What it means.
    pub(super) meaning: &'static str,
    /// Its form: `NAME`, `TIME`, `TEXT` and `WORD` stand for patterns, see [`pattern`].
    pub(super) form: &'static str,
    /// What may stand under it.
    pub(super) under: Under,
}

/// The pattern of a time, in the forms of the language.
pub(super) const TIME: &str = "[0-9]+ *(ms|s|min|h)";

/// The pattern of a sentence's form, as JSON Schema has it.
pub(super) fn pattern(form: &str) -> String {
    let words = form
        .replace("FROM", "(( for NAME)?( from NAME)?|( from NAME)( for NAME))")
        .replace("NAMETO", "NAME(( for NAME)?( to NAME)?|( to NAME)( for NAME))")
        .replace("NAME", "[^ ]+")
        .replace("WORD", "[^ \"]+")
        .replace("TEXT", "(\"[^\"]*\"|[^ ]+)")
        .replace("WINDOW", "( between TIME and TIME| no earlier than TIMEWITHIN|WITHIN)")
        .replace("WITHIN", "( within TIME)?")
        .replace("TIME", TIME);
    format!("^ *{words} *$")
}

const fn sentence(
    form: &'static str,
    example: &'static str,
    meaning: &'static str,
    under: Under,
) -> Sentence {
    Sentence { example, meaning, form, under }
}

/// All of them.
pub(super) const SENTENCES: [Sentence; 54] = [
    sentence(
        "NAME registers( for TIME)?",
        "alice registers",
        "The phone registers and answers challenges by itself",
        Under::With,
    ),
    sentence(
        "NAME re-registers",
        "alice re-registers",
        "The phone refreshes its registration before the time",
        Under::With,
    ),
    sentence(
        "NAME deregisters( everything)?",
        "alice deregisters",
        "The phone ends its registration; everything: all contacts of the identity",
        Under::With,
    ),
    sentence(
        "NAME fetches WORD registrations",
        "alice fetches her registrations",
        "REGISTER without Contact: asks what is registered",
        Under::With,
    ),
    sentence(
        "NAME subscribes( to NAME of NAME)?",
        "alice subscribes to presence of bob",
        "Subscribes to her registration state again, or to an event of somebody",
        Under::With,
    ),
    sentence(
        "NAME unsubscribes from NAME of NAME",
        "alice unsubscribes from presence of bob",
        "Ends such a subscription",
        Under::With,
    ),
    sentence(
        "NAME calls TEXT(( with video)|( with(out)? preconditions)|( without offer))*",
        "alice calls bob",
        "A call to a party or URI; PRACK, UPDATE and ACK come by themselves",
        Under::With,
    ),
    sentence("NAME rings", "bob rings", "The called user is alerted", Under::With),
    sentence("NAME answers", "bob answers", "The called user answers", Under::With),
    sentence(
        "NAME rejects with [3-6][0-9][0-9]",
        "bob rejects with 486",
        "The called user rejects with a status",
        Under::With,
    ),
    sentence("NAME cancels", "alice cancels", "Gives up a call that is not answered", Under::With),
    sentence(
        "NAME hangs up( on NAME)?",
        "alice hangs up",
        "Ends the newest call, or the one with somebody",
        Under::With,
    ),
    sentence(
        "NAME (holds|resumes)( NAME)?( by UPDATE)?",
        "alice holds bob",
        "Puts a call on hold or takes it back, by re-INVITE or UPDATE",
        Under::With,
    ),
    sentence(
        "NAME (adds|drops) video",
        "alice adds video",
        "Re-INVITE with another stream; the party needs `video: on`",
        Under::With,
    ),
    sentence(
        "NAME sends dtmf TEXT by (info|package|rtp)",
        "alice sends dtmf \"12#\" by info",
        "Presses digits",
        Under::With,
    ),
    sentence(
        "NAME loses WORD bearer",
        "alice loses her bearer",
        "The radio takes the resources of the call",
        Under::With,
    ),
    sentence(
        "NAME redirects to TEXT",
        "bob redirects to carol",
        "302 to the call that rings",
        Under::With,
    ),
    sentence(
        "NAME transfers NAME to TEXT( attended| out of dialog| without subscription)*",
        "alice transfers bob to carol",
        "REFER in the dialog of the call, or out of it",
        Under::With,
    ),
    sentence(
        "NAME publishes TEXT( for TIME)?",
        "alice publishes \"open\" for 60s",
        "PUBLISH of presence",
        Under::With,
    ),
    sentence(
        "NAME (refreshes|withdraws) WORD publication",
        "alice refreshes her publication",
        "Keeps what is published, or takes it back",
        Under::With,
    ),
    sentence(
        "NAME sends message TEXT to TEXT",
        "alice sends message \"good day\" to bob",
        "MESSAGE",
        Under::With,
    ),
    sentence(
        "NAME sends sms TEXT to TEXT( with status report)?",
        "alice sends sms \"good day\" to bob with status report",
        "A short message over IP",
        Under::With,
    ),
    sentence(
        "NAME (fills|frees) WORD sms memory",
        "bob fills his sms memory",
        "The memory for short messages is full, or free again",
        Under::With,
    ),
    sentence("NAME asks TEXT", "alice asks bob", "OPTIONS", Under::With),
    sentence(
        "NAME sends request NAME to TEXT",
        "alice sends request OPTIONS to bob",
        "Any request, with what stands under it instead of a UE's own",
        Under::Request,
    ),
    sentence(
        "NAME calls TEXT for NAME",
        "as1 calls bob for alice",
        "An application server begins a call, for a user or for itself",
        Under::Nothing,
    ),
    sentence(
        "NAME sends message TEXT to TEXT for NAME",
        "as1 sends message \"good day\" to bob for itself",
        "An application server sends a text",
        Under::Nothing,
    ),
    sentence(
        "NAME sends sms TEXT to TEXT for NAME",
        "smsgw sends sms \"good day\" to bob for itself",
        "A short message begins at the service centre",
        Under::Nothing,
    ),
    sentence("wait +TIME", "wait 500ms", "Time passes", Under::Nothing),
    sentence(
        "operator deregisters NAME(( with (rejected|deactivated|probation))|( at NAME))*",
        "operator deregisters alice with deactivated",
        "The S-CSCF takes contacts away",
        Under::Nothing,
    ),
    sentence(
        "operator re-authenticates NAMEWITHIN",
        "operator re-authenticates alice within 60s",
        "The S-CSCF cuts the time of contacts and challenges then",
        Under::Nothing,
    ),
    sentence(
        "operator forgets NAME",
        "operator forgets alice",
        "The S-CSCF loses all data of a user",
        Under::Nothing,
    ),
    sentence(
        "operator orders TEXT",
        "operator orders \"hss silent --to MAR\"",
        "Any order of `cscf ctl`, in its words",
        Under::Nothing,
    ),
    sentence(
        "NAME sends RTR for NAME with (permanent termination|new server assigned|server change\
         |remove S-CSCF|NAME)",
        "hss sends RTR for alice with permanent termination",
        "The HSS ends a registration",
        Under::Nothing,
    ),
    sentence(
        "NAME sends PPR for NAME",
        "hss sends PPR for alice",
        "The HSS pushes a profile",
        Under::Nothing,
    ),
    sentence(
        "from now on NAME .+",
        "from now on p1 drops 401 to alice, first",
        "A node does something wrong from here on; docs/faults.md",
        Under::Request,
    ),
    sentence(
        "no longer NAME .+",
        "no longer p1 drops 401 to alice, first",
        "A fault that was begun so ends",
        Under::Nothing,
    ),
    sentence("faults end", "faults end", "All faults end", Under::Nothing),
    sentence("NAME drains", "p1 drains", "The node is emptied for maintenance", Under::Nothing),
    sentence("NAME crashes", "s1 crashes", "A node or a phone stops at once", Under::Nothing),
    sentence("NAME restarts", "s1 restarts", "A stopped node starts again", Under::Nothing),
    sentence(
        "(when )?NAME receives NAMEFROMWINDOW",
        "p1 receives INVITE from alice within 2s",
        "A message comes in: a method, a status, or a Diameter command",
        Under::Message,
    ),
    sentence(
        "(when )?NAME sends NAMETOWINDOW",
        "s1 sends 200 for REGISTER to i1",
        "A message goes out: a method, a status, or a Diameter command",
        Under::Message,
    ),
    sentence(
        "NAME (receives no NAMEFROM|sends no NAMETO)WITHIN",
        "i1 sends no REGISTER within 1s",
        "A message must not be seen for that long",
        Under::Message,
    ),
    sentence(
        "(when )?NAME decides (TS|RFC) NAME NAMEWITHIN",
        "s1 decides TS 24.229 5.4.1.2.2",
        "A decision by a clause",
        Under::Note,
    ),
    sentence(
        "(when )?NAME decides cscf NAMEWITHIN",
        "p1 decides cscf security-associations",
        "A decision by a rule of our own",
        Under::Note,
    ),
    sentence(
        "(when )?NAME diagnosesWITHIN",
        "s1 diagnoses within 2s",
        "A refusal whose cause is told",
        Under::Diagnosis,
    ),
    sentence(
        "NAME is registeredWITHIN",
        "alice is registered",
        "The phone is registered",
        Under::Nothing,
    ),
    sentence(
        "NAME is registration failed( [0-9]+)?WITHIN",
        "alice is registration failed 403",
        "The registration was refused",
        Under::Nothing,
    ),
    sentence(
        "NAME is call establishedWITHIN",
        "alice is call established",
        "The call is answered",
        Under::Nothing,
    ),
    sentence("NAME is call endedWITHIN", "alice is call ended", "The call is over", Under::Nothing),
    sentence(
        "NAME is call failed( [0-9]+)?WITHIN",
        "alice is call failed 486",
        "The call was refused",
        Under::Nothing,
    ),
    sentence(
        "NAME is message received .*",
        "bob is message received good day",
        "A text has come",
        Under::Nothing,
    ),
    sentence(
        "(when )?NAME is [^ ].*",
        "alice is call ringing",
        "Another state; see docs/scenario-language.md",
        Under::Nothing,
    ),
];
