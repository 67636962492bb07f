//! The home subscriber server: subscriptions, the decisions of TS 29.228 §6 on Cx, and the node
//! that serves them over Diameter. Also the authentication centre of its subscribers
//! (TS 33.102 §6.3).
//!
//! Reading order: `store`, `lookup`, `slots`, `range`, `answer`, `assignment`, `authentication`,
//! `node`, `demand`, `state`.

mod answer;
mod assignment;
mod authentication;
mod cause;
mod demand;
mod lookup;
mod misbehaviour;
mod node;
mod profile;
mod provisioning;
mod range;
mod show;
mod slots;
mod state;
mod store;

#[cfg(test)]
mod node_tests;
#[cfg(test)]
mod range_tests;
#[cfg(test)]
mod state_tests;
#[cfg(test)]
mod tests;

pub use answer::HssEnv;
pub use misbehaviour::Misbehaviour;
pub use node::{HssCommand, HssConfig, HssInput, HssNode, HssOutput};
pub use profile::write_profile;
pub use provisioning::Provisioning;
pub use range::SubscriberRange;
pub use show::SubscriberState;
pub use state::{Restored, StateFault};
pub use store::{
    AssignedServer, Credentials, Entry, ImplicitSet, PrivateIdentity, RegistrationState, Store,
    StoreError, Subscriber,
};
