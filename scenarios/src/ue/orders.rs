//! What a UE does for each order of its user.

use cscf_core::role::{Actions, Env};
use cscf_core::sip::Method;
use cscf_core::ua::SessionPhase;

use super::headers::dress_from;
use super::{Ue, UeCommand, UeTimer};

impl Ue {
    pub(super) fn obey(
        &mut self,
        env: &mut Env<'_>,
        command: UeCommand,
        out: &mut Actions<UeTimer>,
    ) {
        match command {
            UeCommand::About { whom, command } => {
                self.about = whom;
                self.obey(env, *command, out);
                self.about = Vec::new();
            }
            UeCommand::Dressed { headers, command } => {
                let start = out.len();
                self.obey(env, *command, out);
                dress_from(start, &headers, out);
            }
            command => {
                if let Some(command) = self.obey_in_call(env, command, out) {
                    self.obey_outside(env, command, out);
                }
            }
        }
    }

    /// Orders about a call; gives back any other.
    fn obey_in_call(
        &mut self,
        env: &mut Env<'_>,
        command: UeCommand,
        out: &mut Actions<UeTimer>,
    ) -> Option<UeCommand> {
        use SessionPhase::{Calling, Incoming, Talking};
        let any = &[Talking, Calling, Incoming];
        match command {
            UeCommand::Answer => self.order(env, &[Incoming], out, |it, turn| it.answer(turn)),
            UeCommand::Call { target, options } => self.call(env, &target, options, out),
            UeCommand::Cancel => self.order(env, &[Calling], out, |it, turn| it.cancel(turn)),
            UeCommand::Hangup => self.order(env, any, out, |it, turn| it.hang_up(turn)),
            UeCommand::Hold => self.order(env, &[Talking], out, |it, turn| it.hold(turn, true)),
            UeCommand::HoldByUpdate { on } => self.order(env, &[Talking], out, |it, turn| {
                it.hold_by(turn, on, &Method::Update);
            }),
            UeCommand::LoseBearer => {
                self.order(env, any, out, |it, turn| it.lose_resources(turn));
            }
            UeCommand::Redirect { target } => self.redirect(env, &target, out),
            UeCommand::Reject { status } => self.order(env, &[Incoming], out, |it, turn| {
                it.reject(turn, status.clamp(300, 699));
            }),
            UeCommand::Resume => self.order(env, &[Talking], out, |it, turn| it.hold(turn, false)),
            UeCommand::Ring => self.order(env, &[Incoming], out, |it, turn| it.ring(turn)),
            UeCommand::SendDtmf { digits, by } => self.send_dtmf(env, &digits, by, out),
            UeCommand::SendInfo { content_type, body } => {
                self.order(env, &[Talking], out, |it, turn| it.info(turn, &content_type, body));
            }
            UeCommand::Transfer { target, how } => self.transfer(env, &target, &how, out),
            UeCommand::Video { on } => {
                self.order(env, &[Talking], out, |it, turn| it.video(turn, on));
            }
            other => return Some(other),
        }
        None
    }

    fn obey_outside(&mut self, env: &mut Env<'_>, command: UeCommand, out: &mut Actions<UeTimer>) {
        match command {
            UeCommand::Deregister => self.deregister(env, out),
            UeCommand::DeregisterAll => self.deregister_all(env, out),
            UeCommand::FetchRegistrations => self.fetch_registrations(env, out),
            UeCommand::KeepPublication { keep } => self.keep_publication(env, keep, out),
            UeCommand::Publish { status, expires } => self.publish(env, &status, expires, out),
            UeCommand::Register { expires } => {
                let expires = expires.unwrap_or(self.config.expires);
                self.register(env, expires, out);
            }
            UeCommand::Reregister => self.reregister(env, out),
            UeCommand::SendMessage { target, text } => self.send_message(env, &target, &text, out),
            UeCommand::SendSms { target, text, status_report } => {
                self.send_sms(env, (&target, &text), status_report, out);
            }
            UeCommand::SmsMemory { full } => self.sms_memory(env, full, out),
            UeCommand::SendOptions { target } => self.send_options(env, &target, out),
            UeCommand::SendRaw { request } => self.send_raw(*request, out),
            UeCommand::SendRequest { method, target, changes } => {
                self.send_arbitrary(env, (&method, &target), &changes, out);
            }
            UeCommand::SubscribeReg => self.subscribe(env, out),
            UeCommand::Unwatch { target, event } => self.unwatch(env, &target, &event, out),
            UeCommand::Watch { target, event } => self.watch(env, &target, &event, out),
            // All others are about calls.
            _ => {}
        }
    }
}
