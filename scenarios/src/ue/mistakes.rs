//! What a UE does wrong when it is told to. Each is one rule broken at one place, so that what
//! refuses it can be told from everything else.

/// What a UE does wrong, for tests of the others and of what is said about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mistakes {
    /// Refreshes at half time, however long the registration lasts.
    pub always_half: bool,
    /// Answers the challenge in clear although it was agreed on TLS.
    pub answers_in_clear: bool,
    /// Answers the challenge under a private identity that was not challenged.
    pub another_impi: bool,
    /// Registers a public identity of somebody else.
    pub another_impu: bool,
    /// Says 600 where its user is only busy here.
    pub busy_everywhere: bool,
    /// Calls again at once after a 503.
    pub calls_again: bool,
    /// Registers again although the network has ended its registration for good.
    pub comes_back: bool,
    /// Answers the challenge with another address in Contact than it was challenged with.
    pub contact_changed: bool,
    /// Hears no calls.
    pub deaf: bool,
    /// Answers a hold as if it were none.
    pub deaf_to_hold: bool,
    /// Offers EVS behind all other codecs.
    pub evs_last: bool,
    /// Answers a challenge whose MAC is wrong as if it were right.
    pub follows_anybody: bool,
    /// Does not register again by itself after a failure of the network.
    pub gives_up: bool,
    /// Holds with `inactive` where it should with `sendonly`.
    pub holds_inactive: bool,
    /// Goes on ringing when the caller has given up.
    pub ignores_cancel: bool,
    /// Does not register anew when a 504 asks for it.
    pub ignores_restoration: bool,
    /// Does not wait as long as Retry-After says.
    pub ignores_retry_after: bool,
    /// Does not register when the network shortens its registration.
    pub ignores_shortened: bool,
    /// Registers again after a 403.
    pub insists: bool,
    /// Ends its registration with an interval that is not 0.
    pub keeps_binding: bool,
    /// Gives up its registration when the refresh is too brief.
    pub lost_at_423: bool,
    /// Has forgotten the user part of its Contact after it has registered: who calls it there calls
    /// nobody.
    pub lost_user: bool,
    /// Does not tell when its user gives up a call.
    pub never_cancels: bool,
    /// Answers the challenge with another Call-ID.
    pub new_call_id: bool,
    /// Refreshes its registration with another address in Contact.
    pub new_contact: bool,
    /// Does not acknowledge a 2xx.
    pub no_ack: bool,
    /// Does not tell the second caller that the call waits.
    pub no_alert_info: bool,
    /// Does not answer challenges.
    pub no_answer: bool,
    /// Answers a sequence number of the past without AUTS.
    pub no_auts: bool,
    /// Waits as long after many failures as after one.
    pub no_back_off: bool,
    /// Answers digest without cnonce.
    pub no_cnonce: bool,
    /// Offers only integrity algorithms that no P-CSCF knows.
    pub no_common_algorithm: bool,
    /// Does not ask for the confirmation of the caller's resources.
    pub no_conf_line: bool,
    /// Says nothing of a short message that came.
    pub no_delivery_report: bool,
    /// Names no desired status in its offers.
    pub no_des_lines: bool,
    /// Knows no EVS.
    pub no_evs: bool,
    /// Does not say which message the report of a short message is about.
    pub no_in_reply_to: bool,
    /// Does not say that it supports Path.
    pub no_path: bool,
    /// Does not send PRACK.
    pub no_prack: bool,
    /// Does not subscribe to its registration.
    pub no_reg_event: bool,
    /// Transfers attended without saying which call is replaced.
    pub no_replaces: bool,
    /// Offers the security agreement in Supported only, and no mechanism.
    pub no_sec_agree: bool,
    /// Calls without naming the service.
    pub no_service_named: bool,
    /// Sends requests outside dialogs without the Service-Route.
    pub no_service_route: bool,
    /// Registers without the feature tag of short messages.
    pub no_smsip_tag: bool,
    /// Sends INFO and re-INVITE with a CSeq of the past.
    pub old_cseq: bool,
    /// Has a card that is far ahead: every challenge is a synchronisation failure.
    pub old_sqn: bool,
    /// Has a card made for the HSS's OPc as if that were OP.
    pub op_as_opc: bool,
    /// Answers with another clock rate than was offered.
    pub other_clock_rate: bool,
    /// Answers with another mode-set than was offered.
    pub other_mode_set: bool,
    /// Its 180 lacks P-Access-Network-Info.
    pub place_lost_in_180: bool,
    /// Its 183 lacks P-Access-Network-Info.
    pub place_lost_in_183: bool,
    /// Its 200 to INVITE lacks P-Access-Network-Info.
    pub place_lost_in_200: bool,
    /// Its BYE lacks P-Access-Network-Info.
    pub place_lost_in_bye: bool,
    /// Its SUBSCRIBE lacks P-Access-Network-Info.
    pub place_lost_in_subscribe: bool,
    /// Its UPDATE lacks P-Access-Network-Info.
    pub place_lost_in_update: bool,
    /// The REGISTER that ends its registration lacks P-Access-Network-Info.
    pub place_lost_on_leaving: bool,
    /// Tells where it is before it is protected.
    pub place_told_early: bool,
    /// Uses preconditions where it should not.
    pub preconditions_always: bool,
    /// Refreshes its registration when nine tenths of it are over.
    pub refreshes_late: bool,
    /// Reports a short message to its service centre instead of the gateway that sent it.
    pub report_to_centre: bool,
    /// Offers the same associations again after a wrong MAC.
    pub same_spi: bool,
    /// Answers the challenge with another Security-Client than it was challenged with.
    pub security_client_differs: bool,
    /// Repeats the Security-Server of the challenge with a change.
    pub security_verify_differs: bool,
    /// Registers for 10 s and does not ask for longer when told to.
    pub short_expiry: bool,
    /// Does not tell callers that it rings.
    pub silent: bool,
    /// Says that its short messages are plain text.
    pub sms_as_text: bool,
    /// Answers 500 to short messages and their reports.
    pub sms_refused: bool,
    /// Does not answer short messages and their reports at all.
    pub sms_unanswered: bool,
    /// Has a card that allows no jumps: every challenge is too far ahead.
    pub sqn_ahead: bool,
    /// Ends all registrations with an Expires that is not 0.
    pub star_with_expires: bool,
    /// Does not register anew when the network deactivates its registration.
    pub stays_away: bool,
    /// Answers as one that is held when it is taken back.
    pub stays_on_hold: bool,
    /// Subscribes again at once where Retry-After wants it to wait.
    pub subscribes_at_once: bool,
    /// Answers NOTIFY with 500.
    pub unanswered_notify: bool,
    /// Answers BYE with 481.
    pub unknown_bye: bool,
    /// Requires an extension of the registrar that does not exist.
    pub unknown_require: bool,
    /// Writes an Authorization that nobody can read.
    pub unreadable_authorization: bool,
    /// Sends and takes no reliable provisional responses.
    pub unreliable: bool,
    /// Sends INFO of packages that the peer has not named.
    pub unwanted_package: bool,
    /// The REGISTER that ends its registration lacks Security-Verify.
    pub verify_lost_on_leaving: bool,
    /// The REGISTER that refreshes its registration lacks Security-Verify.
    pub verify_lost_on_refresh: bool,
    /// Writes an address into Via that it does not send from.
    pub via_differs: bool,
    /// Has a card with another key: the network's MAC looks wrong.
    pub wrong_key: bool,
    /// Says in REGISTER that it is on E-UTRAN, wherever it is.
    pub wrong_place: bool,
    /// Acknowledges provisional responses that never were.
    pub wrong_rack: bool,
    /// Names a realm that is not the home network's.
    pub wrong_realm: bool,
    /// Answers with a wrong RES or password.
    pub wrong_res: bool,
    /// Writes another RP-MR into the report of a short message than it has.
    pub wrong_rp_mr: bool,
}

/// The words of a mistake in the scenario language, and where it is kept.
type Named = (&'static str, fn(&mut Mistakes) -> &mut bool);

impl Mistakes {
    /// All mistakes by their words.
    pub const NAMED: [Named; 89] = [
        ("accepts any network", |it| &mut it.follows_anybody),
        ("another impi", |it| &mut it.another_impi),
        ("another impu", |it| &mut it.another_impu),
        ("answers in clear", |it| &mut it.answers_in_clear),
        ("busy everywhere", |it| &mut it.busy_everywhere),
        ("calls again", |it| &mut it.calls_again),
        ("comes back", |it| &mut it.comes_back),
        ("contact changed", |it| &mut it.contact_changed),
        ("deaf", |it| &mut it.deaf),
        ("deaf to hold", |it| &mut it.deaf_to_hold),
        ("delivery report to the centre", |it| &mut it.report_to_centre),
        ("evs last", |it| &mut it.evs_last),
        ("gives up", |it| &mut it.gives_up),
        ("holds inactive", |it| &mut it.holds_inactive),
        ("ignores cancel", |it| &mut it.ignores_cancel),
        ("ignores restoration", |it| &mut it.ignores_restoration),
        ("ignores retry-after", |it| &mut it.ignores_retry_after),
        ("ignores shortened", |it| &mut it.ignores_shortened),
        ("ignores sms", |it| &mut it.sms_unanswered),
        ("insists", |it| &mut it.insists),
        ("keeps its binding", |it| &mut it.keeps_binding),
        ("lost at 423", |it| &mut it.lost_at_423),
        ("lost user", |it| &mut it.lost_user),
        ("never cancels", |it| &mut it.never_cancels),
        ("new call-id", |it| &mut it.new_call_id),
        ("new contact", |it| &mut it.new_contact),
        ("no ack", |it| &mut it.no_ack),
        ("no answer", |it| &mut it.no_answer),
        ("no auts", |it| &mut it.no_auts),
        ("no back-off", |it| &mut it.no_back_off),
        ("no call waiting", |it| &mut it.no_alert_info),
        ("no cnonce", |it| &mut it.no_cnonce),
        ("no common algorithm", |it| &mut it.no_common_algorithm),
        ("no conf line", |it| &mut it.no_conf_line),
        ("no delivery report", |it| &mut it.no_delivery_report),
        ("no des lines", |it| &mut it.no_des_lines),
        ("no evs", |it| &mut it.no_evs),
        ("no in-reply-to", |it| &mut it.no_in_reply_to),
        ("no path", |it| &mut it.no_path),
        ("no prack", |it| &mut it.no_prack),
        ("no reg event", |it| &mut it.no_reg_event),
        ("no replaces", |it| &mut it.no_replaces),
        ("no sec-agree", |it| &mut it.no_sec_agree),
        ("no service named", |it| &mut it.no_service_named),
        ("no service-route", |it| &mut it.no_service_route),
        ("no smsip tag", |it| &mut it.no_smsip_tag),
        ("notify not understood", |it| &mut it.unanswered_notify),
        ("old cseq", |it| &mut it.old_cseq),
        ("old sqn", |it| &mut it.old_sqn),
        ("op as opc", |it| &mut it.op_as_opc),
        ("other clock rate", |it| &mut it.other_clock_rate),
        ("other mode-set", |it| &mut it.other_mode_set),
        ("place lost in 180", |it| &mut it.place_lost_in_180),
        ("place lost in 183", |it| &mut it.place_lost_in_183),
        ("place lost in 200", |it| &mut it.place_lost_in_200),
        ("place lost in bye", |it| &mut it.place_lost_in_bye),
        ("place lost in subscribe", |it| &mut it.place_lost_in_subscribe),
        ("place lost in update", |it| &mut it.place_lost_in_update),
        ("place lost on leaving", |it| &mut it.place_lost_on_leaving),
        ("place told early", |it| &mut it.place_told_early),
        ("preconditions always", |it| &mut it.preconditions_always),
        ("refreshes late", |it| &mut it.refreshes_late),
        ("refreshes long ones at half time", |it| &mut it.always_half),
        ("refuses sms", |it| &mut it.sms_refused),
        ("same spi", |it| &mut it.same_spi),
        ("security-client differs", |it| &mut it.security_client_differs),
        ("security-verify differs", |it| &mut it.security_verify_differs),
        ("short expiry", |it| &mut it.short_expiry),
        ("silent", |it| &mut it.silent),
        ("sms as text", |it| &mut it.sms_as_text),
        ("sqn ahead", |it| &mut it.sqn_ahead),
        ("star with expires", |it| &mut it.star_with_expires),
        ("stays away", |it| &mut it.stays_away),
        ("stays on hold", |it| &mut it.stays_on_hold),
        ("subscribes at once", |it| &mut it.subscribes_at_once),
        ("unknown bye", |it| &mut it.unknown_bye),
        ("unknown require", |it| &mut it.unknown_require),
        ("unreadable authorization", |it| &mut it.unreadable_authorization),
        ("unreliable", |it| &mut it.unreliable),
        ("unwanted package", |it| &mut it.unwanted_package),
        ("verify lost on leaving", |it| &mut it.verify_lost_on_leaving),
        ("verify lost on refresh", |it| &mut it.verify_lost_on_refresh),
        ("via differs", |it| &mut it.via_differs),
        ("wrong key", |it| &mut it.wrong_key),
        ("wrong place", |it| &mut it.wrong_place),
        ("wrong rack", |it| &mut it.wrong_rack),
        ("wrong realm", |it| &mut it.wrong_realm),
        ("wrong res", |it| &mut it.wrong_res),
        ("wrong rp-mr", |it| &mut it.wrong_rp_mr),
    ];

    /// Makes the mistake with these words; says whether there is one.
    pub fn make(&mut self, words: &str) -> bool {
        let found = Self::NAMED.iter().find(|(name, _)| *name == words);
        found.is_some_and(|(_, place)| {
            *place(self) = true;
            true
        })
    }
}
