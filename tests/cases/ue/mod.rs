//! The UE emulator: by hand, message by message, and between two engines.

mod calls;
mod clear_text;
mod devices;
mod emergency;
mod mistakes;
mod network;
mod phone;
mod recovery;
mod registration;
mod requests;
mod security;
mod sessions;
mod subscriber;
mod tls;
mod whole;
mod world;

use super::Case;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = registration::cases();
    cases.extend(recovery::cases());
    cases.extend(devices::cases());
    cases.extend(emergency::cases());
    cases.extend(security::cases());
    cases.extend(clear_text::cases());
    cases.extend(tls::cases());
    cases.extend(subscriber::cases());
    cases.extend(whole::cases());
    cases.extend(mistakes::cases());
    cases.extend(requests::cases());
    cases.extend(calls::cases());
    cases.extend(sessions::cases());
    cases.extend(network::cases());
    cases
}
