//! Calls over bad networks, over TCP, and of users who act by chance.

use cscf_core::ids::{Ids, Seed, ShardId};
use cscf_core::time::Duration;
use cscf_core::trace::TraceKind;
use cscf_core::transport::Transport;
use scenarios::lab::NetworkOptions;
use scenarios::ue::{CallOptions, Dtmf, Robot, Transfer, UeCommand};

use super::world::{Phone, World};
use crate::cases::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("ue::a_call_comes_up_over_a_lossy_network", &[], lossy),
        case("ue::a_call_goes_over_tcp", &[], tcp),
        case("ue::random_users_on_a_bad_network_leave_nothing_behind", &[], random),
    ]
}

fn lossy() {
    for seed in 0..20 {
        let lossy = NetworkOptions { loss: 200, duplicate: 50, ..NetworkOptions::default() };
        let mut world = World::seeded(seed, lossy, |config| {
            config.robot = Robot::Answers { after: Duration::from_millis(100 * (seed + 1)) };
        });
        world.call(CallOptions::default());
        world.wait(Duration::from_secs(31));
        let up = |world: &World, who| world.states(who).contains(&"call established".to_owned());
        assert!(up(&world, "alice") && up(&world, "bob"), "seed {seed}");
        world.command("alice", UeCommand::Hangup);
        world.wait(Duration::from_secs(40));
        for who in ["alice", "bob"] {
            assert_eq!(world.states(who).last().map(String::as_str), Some("call ended"), "{seed}");
        }
    }
}

fn tcp() {
    let mut world = World::plain(|config| {
        config.transport = Transport::Tcp;
        config.robot = Robot::Echo;
    });
    world.call(CallOptions::default());
    world.wait_ms(1000);
    assert_eq!(world.states("alice").last().map(String::as_str), Some("call established"));
    world.command("alice", UeCommand::Hangup);
    world.wait_ms(500);
    assert_eq!(world.states("bob").last().map(String::as_str), Some("call ended"));
    let udp = world.lab.trace().iter().any(|event| match &event.kind {
        TraceKind::Sent(wire) => wire.transport == Transport::Udp,
        _ => false,
    });
    assert!(!udp, "everything goes over TCP");
}

/// An order or a span of time, by chance.
fn anything(world: &mut World, chance: &mut Ids) {
    let who = if chance.below(2) == 0 { "alice" } else { "bob" };
    let other = if who == "alice" { "bob" } else { "alice" };
    let target = format!("sip:{other}@ims.mnc001.mcc001.3gppnetwork.org");
    let preconditions = [None, Some(true), Some(false)][chance.below(3) as usize];
    let options = CallOptions { preconditions, offerless: chance.below(4) == 0, video: false };
    let how = Transfer {
        outside: chance.below(2) == 0,
        quiet: chance.below(3) == 0,
        ..Default::default()
    };
    let by = [Dtmf::Info, Dtmf::Package, Dtmf::Rtp][chance.below(3) as usize];
    let command = match chance.below(16) {
        0 | 1 => UeCommand::Call { target, options },
        2 | 3 => UeCommand::Answer,
        4 => UeCommand::Hangup,
        5 => UeCommand::Hold,
        6 => UeCommand::Resume,
        7 => UeCommand::Cancel,
        8 => UeCommand::Reject { status: 486 },
        9 => UeCommand::Transfer { target, how },
        10 => UeCommand::Video { on: chance.below(2) == 0 },
        11 => UeCommand::HoldByUpdate { on: chance.below(2) == 0 },
        12 => UeCommand::SendDtmf { digits: "12#".to_owned(), by },
        13 => UeCommand::LoseBearer,
        14 => UeCommand::Redirect { target },
        _ => UeCommand::SendInfo { content_type: "text/plain".to_owned(), body: "x".into() },
    };
    world.command(who, command);
    let span = [0, 5, 50, 200, 3000, 20_000][chance.below(6) as usize];
    world.wait_ms(chance.below(span + 1));
}

fn random() {
    let mut established = 0;
    for seed in 0..100 {
        let mut chance = Ids::new(Seed::derive(seed, "users"), ShardId(0));
        let network = NetworkOptions {
            loss: chance.below(3) * 100,
            duplicate: chance.below(2) * 100,
            reorder: chance.below(2) * 100,
            ..NetworkOptions::default()
        };
        let timer = chance.below(2) == 0;
        let mut world = World::seeded(seed, network, |config| {
            config.calls_max = 3;
            config.video = seed % 2 == 0;
            config.all_codecs = seed % 3 == 0;
            config.habits.follows_redirects = seed % 5 == 0;
            if timer {
                config.session_timer.interval = Some(Duration::from_secs(90));
            }
        });
        for _ in 0..60 {
            anything(&mut world, &mut chance);
        }
        let up = |who| world.states(who).iter().filter(|it| *it == "call established").count();
        established += up("alice");
        for _ in 0..8 {
            for who in ["alice", "bob"] {
                world.command(who, UeCommand::Hangup);
            }
            world.wait(Duration::from_secs(1));
        }
        world.wait(Duration::from_secs(300));
        for who in ["alice", "bob"] {
            let held = world.lab.with(who, |phone: &mut Phone, _| {
                (phone.0.role().calls_held(), phone.0.sizes().role_timers)
            });
            assert_eq!(held, Some((0, 0)), "seed {seed}: calls and timers of {who}");
        }
    }
    assert!(established > 100, "calls come up at all: {established}");
}
