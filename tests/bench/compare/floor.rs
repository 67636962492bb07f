//! The floor: processes that carry the datagrams of a registration and do nothing else. What these
//! cost, no system of the same processes can go below at the same rate on the same machine.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use cscf_core::host::Clock;
use cscf_core::time::Instant;

use crate::account::cpu;
use crate::system::{Rig, spawn};

/// Who handles a message of half a registration after whom: P-, I-, S-CSCF and HSS. The first
/// question to the HSS goes elsewhere here, so that odd and even alternate: on two processors each
/// hop can be to the other.
const WAY: [usize; 9] = [0, 1, 2, 1, 2, 3, 2, 1, 0];
/// Messages handled in one registration: REGISTER to 401, REGISTER to 200.
pub(crate) const PER_REGISTRATION: f64 = 18.0;
/// Messages handled in one call.
pub(crate) const PER_CALL: f64 = 31.0;
/// A REGISTER of a phone has about as many bytes.
const BYTES: usize = 1_200;
const SECONDS: f64 = 4.0;

fn address(process: usize) -> SocketAddr {
    let last = u8::try_from(31 + process).unwrap_or(u8::MAX);
    SocketAddr::from(([127, 0, 0, last], 5090))
}

fn generator() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 30], 5090))
}

/// Is one of the processes: hands each datagram to the next on its way, until it is killed.
pub(crate) fn carry(process: usize) -> Result<(), String> {
    let socket = UdpSocket::bind(address(process)).map_err(|fault| fault.to_string())?;
    let mut buffer = [0; 2_048];
    loop {
        let Ok((length, _)) = socket.recv_from(&mut buffer) else { continue };
        let Some(place) = buffer.first_mut() else { continue };
        *place += 1;
        let to = WAY.get(usize::from(*place)).map_or_else(generator, |next| address(*next));
        let _ = socket.send_to(buffer.get(..length).unwrap_or_default(), to);
    }
}

/// How the messages of the floor come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// So many registrations a second; the system chooses the processors.
    Rate(f64),
    /// The same, each hop to a process that sleeps on the other of two processors.
    Apart(f64),
    /// Without a pause.
    Busy,
}

impl Pace {
    /// What is measured.
    pub(crate) const ALL: [Self; 5] = [
        Self::Rate(500.0),
        Self::Rate(1_000.0),
        Self::Rate(2_000.0),
        Self::Apart(1_000.0),
        Self::Busy,
    ];

    /// Its name in the table.
    pub(crate) fn words(self) -> String {
        match self {
            Self::Rate(rate) => format!("at the messages of {rate} registrations a second"),
            Self::Apart(rate) => {
                format!("at those of {rate}, each hop to a sleeper on the other processor")
            }
            Self::Busy => "without a pause".to_owned(),
        }
    }

    const fn rate(self) -> Option<f64> {
        match self {
            Self::Rate(rate) | Self::Apart(rate) => Some(rate),
            Self::Busy => None,
        }
    }
}

/// Microseconds on a CPU of all processes for one message.
pub(crate) fn micros(rig: &Rig, pace: Pace) -> Result<f64, String> {
    let socket = UdpSocket::bind(generator()).map_err(|fault| fault.to_string())?;
    let program = std::env::current_exe().map_err(|fault| fault.to_string())?;
    let mut processes = Vec::new();
    std::fs::create_dir_all(&rig.folder).map_err(|fault| fault.to_string())?;
    for process in 0..4 {
        let mut command = Command::new("taskset");
        let processors = match pace {
            Pace::Apart(_) if process % 2 == 0 => "0",
            Pace::Apart(_) => "1",
            Pace::Rate(_) | Pace::Busy => "0,1",
        };
        command.args(["-c", processors]).arg(&program);
        command.arg("--carry").arg(process.to_string());
        processes.push(spawn(command, &rig.folder.join("floor.log"))?);
    }
    let ids: Vec<u32> = processes.iter().map(std::process::Child::id).collect();
    let result = measure(&socket, &ids, pace.rate());
    for mut process in processes {
        let _ = process.kill();
        let _ = process.wait();
    }
    result
}

fn measure(socket: &UdpSocket, processes: &[u32], rate: Option<f64>) -> Result<f64, String> {
    let text = |fault: std::io::Error| fault.to_string();
    let datagram = [0; BYTES];
    let mut buffer = [0; 2_048];
    let send = || socket.send_to(&datagram, address(0)).map(drop);
    // Until the processes are there.
    socket.set_read_timeout(Some(Duration::from_millis(10))).map_err(text)?;
    let begin = Clock::start();
    while send().is_err() || socket.recv_from(&mut buffer).is_err() {
        if seconds(&begin) > 5.0 {
            return Err("the processes of the floor do not start".to_owned());
        }
    }
    let before = cpu(processes);
    let begin = Clock::start();
    let (mut sent, mut back) = (0.0, 0.0);
    while seconds(&begin) < SECONDS {
        // Two halves a registration; without a rate there are always 64 on their way.
        let due = rate.map_or(back + 64.0, |rate| seconds(&begin) * rate * 2.0);
        while sent < due {
            let _ = send();
            sent += 1.0;
        }
        let pause =
            rate.map_or(0.01, |rate| ((sent + 1.0) / rate / 2.0 - seconds(&begin)).max(1e-5));
        socket.set_read_timeout(Some(Duration::from_secs_f64(pause))).map_err(text)?;
        if socket.recv_from(&mut buffer).is_ok() {
            back += 1.0;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "of nanoseconds of seconds")]
    let spent = cpu(processes).saturating_sub(before) as f64;
    if back < sent * 0.9 {
        return Err(format!("of {sent} datagrams {back} came through the processes of the floor"));
    }
    Ok(spent / 1_000.0 / (back * PER_REGISTRATION / 2.0))
}

fn seconds(clock: &Clock) -> f64 {
    clock.now().since(Instant::EPOCH).as_secs_f64()
}
