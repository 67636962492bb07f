//! The UE emulator: by hand, message by message, and between two engines.

mod calls;
mod mistakes;
mod network;
mod phone;
mod registration;
mod requests;
mod world;

use super::Case;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = registration::cases();
    cases.extend(mistakes::cases());
    cases.extend(requests::cases());
    cases.extend(calls::cases());
    cases.extend(network::cases());
    cases
}
