//! `cscf init`: a lab file to change.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use cscf_core::config::{Lab, PathMtu};

/// What `cscf init` is asked.
#[derive(Clone, Debug, Args)]
pub struct InitArgs {
    /// The network: country code and network code of two or three digits
    #[arg(long, value_name = "MCC/MNC", default_value = "001/01", value_parser = plmn)]
    plmn: (String, String),
    /// The address of this machine that phones reach
    #[arg(long, default_value = "127.0.0.1")]
    address: IpAddr,
    /// The file to write
    #[arg(short, long, value_name = "FILE", default_value = "lab.yaml")]
    output: PathBuf,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
}

fn plmn(text: &str) -> Result<(String, String), String> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('/') {
        Some((mcc, mnc)) if digits(mcc) && digits(mnc) && mcc.len() == 3 => {
            if matches!(mnc.len(), 2 | 3) {
                return Ok((mcc.to_owned(), mnc.to_owned()));
            }
            Err(format!("the network code `{mnc}` has two or three digits, e.g. 01"))
        }
        _ => Err("write country code / network code, e.g. 001/01".to_owned()),
    }
}

/// Writes the file and says what to do next.
pub(super) fn init(args: &InitArgs) -> Result<String, String> {
    let (mcc, mnc) = &args.plmn;
    let mut lab = Lab::for_plmn(mcc, mnc, [args.address; 4]);
    if !args.address.is_loopback() {
        // Other machines take part: what passes is what an Ethernet carries.
        lab.path_mtu = PathMtu::Known(1500);
    }
    let shown = args.output.display();
    let mut options = OpenOptions::new();
    options.write(true).truncate(true);
    if args.force {
        options.create(true)
    } else {
        options.create_new(true)
    };
    let mut file = options.open(&args.output).map_err(|fault| match fault.kind() {
        ErrorKind::AlreadyExists => {
            format!("{shown} is there already; --force writes over it, -o takes another name")
        }
        _ => format!("{shown} cannot be written: {fault}"),
    })?;
    file.write_all(lab.to_yaml().as_bytes())
        .map_err(|fault| format!("{shown} cannot be written: {fault}"))?;
    Ok(format!("wrote {shown}: change what you like, then `cscf up --lab {shown}`\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_two_codes() {
        assert_eq!(plmn("001/01"), Ok(("001".to_owned(), "01".to_owned())));
        assert_eq!(plmn("310/410"), Ok(("310".to_owned(), "410".to_owned())));
        for wrong in ["00101", "1/01", "001/1", "001/0123", "abc/de"] {
            assert!(plmn(wrong).is_err(), "{wrong}");
        }
    }
}
