//! The lab file: domain, nodes, timers, subscribers. Every mistake is said with file, line, column
//! and the nearest right name, all of them in one reading.

mod behaviour;
mod centre;
mod control;
mod criteria;
mod default;
mod edge;
mod entry;
mod fault;
mod gather;
mod import;
mod lab;
mod load;
mod networks;
mod node;
mod nodes;
mod numbering;
pub mod operate;
mod pieces;
mod plain;
mod ports;
mod problem;
mod range;
mod security;
mod server;
mod serving;
mod single;
mod subscriber;
mod subscribers;
mod tls;
mod tree;
mod write;

pub use crate::words::{duration, nearest};
pub use behaviour::ServerBehaviour;
pub use centre::{CentreConfig, Submissions, Unauthorised};
pub use control::{ControlToken, NodeControl};
pub use criteria::filter_criteria;
pub use edge::{EdgeConfig, EmergencyCalls};
pub use entry::EntryConfig;
pub use fault::{headers_below, inside, read_faults, rule_at};
pub use gather::Gather;
pub use import::import_subscribers;
pub use lab::{
    Lab, NodeConfig, NodeRole, PathMtu, RegistrationLimits, TimerValues, named_entries, read_lab,
    read_lab_but_subscribers, read_names,
};
pub use load::LoadConfig;
pub use node::read_node;
pub use nodes::{Start, in_brackets};
pub use numbering::{DnsConfig, NumberingConfig};
pub use problem::{Problem, Problems, render};
pub use range::SubscriberRange;
pub use security::{Confidentiality, EspBackend, GmSecurity, SaReject, SecAgree};
pub use server::{RegisterAnswer, ServerConfig, Watchers};
pub use serving::{Breadth, HssFailure, ServingConfig};
pub use single::read_entry;
pub use subscriber::{Auth, HssData, Impu, SubscriberConfig, SubscriberTransport, read_subscriber};
pub use subscribers::{Part, SubscriberPlace, Subscribers};
pub use tls::{SecuredListen, TlsConfig, TlsVersion};
pub use tree::{Entry, Node, Position, Reader, Value, read_tree};
