//! `cscf schema`: the JSON Schema of scenario or lab files, for editors.

use clap::ValueEnum;

use crate::schema;

/// Of which files.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Of {
    /// Scenario files
    #[default]
    Scenario,
    /// Lab files
    Lab,
}

/// The schema, as text.
pub(super) fn schema(of: Of) -> Result<String, String> {
    let schema = match of {
        Of::Scenario => schema::scenario(),
        Of::Lab => schema::lab(),
    };
    let text = serde_json::to_string_pretty(&schema).map_err(|fault| fault.to_string())?;
    Ok(text + "\n")
}
