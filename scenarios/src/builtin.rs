//! The scenarios that ship with the program, compiled in so that the binary works alone.

/// A built-in scenario.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// The name `cscf run` takes.
    pub name: &'static str,
    /// The file in the source tree, for error texts.
    pub file: &'static str,
    /// Its text.
    pub source: &'static str,
}

macro_rules! builtins {
    ($($folder:literal / $name:literal),* $(,)?) => {
        &[$(Builtin {
            name: $name,
            file: concat!("scenarios/", $folder, "/", $name, ".yaml"),
            source: include_str!(concat!("../", $folder, "/", $name, ".yaml")),
        }),*]
    };
}

/// All of them, in the order of `cscf list`.
pub const ALL: &[Builtin] = builtins![
    "call" / "volte-call",
    "call" / "call-no-preconditions",
    "call" / "call-cancel",
    "call" / "call-busy",
    "call" / "call-unknown-user",
    "message" / "message",
    "register" / "register-aka",
    "register" / "register-digest",
    "register" / "deregister",
    "register" / "register-wrong-key",
    "register" / "register-wrong-res",
    "register" / "register-out-of-sync",
    "register" / "register-unknown-user",
];

/// The built-in scenario of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Builtin> {
    ALL.iter().find(|builtin| builtin.name == name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::script::read_scenario;

    #[test]
    fn every_file_is_compiled_in_and_reads_without_a_mistake() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = Vec::new();
        for folder in ["call", "message", "register"] {
            for entry in std::fs::read_dir(root.join(folder)).expect("folder") {
                let path = entry.expect("entry").path();
                files.push(path.file_stem().expect("name").to_string_lossy().into_owned());
            }
        }
        files.sort();
        let mut names: Vec<&str> = ALL.iter().map(|builtin| builtin.name).collect();
        names.sort_unstable();
        assert_eq!(names, files);
        for builtin in ALL {
            if let Err(problems) = read_scenario(builtin.source, "ims.example") {
                panic!("{}: {problems:?}", builtin.file);
            }
        }
    }
}
