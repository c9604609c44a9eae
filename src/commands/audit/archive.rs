//! `pechat audit archive`: the folder that outlives the appliance (Art. 38a). Python and openssl verify it.

use clap::Args;

use super::Verdict;
use super::export::{ExportArgs, Maker, Purpose, run_for};
use super::folder::{HEAD_KEY, RECEIPT};
use crate::commands::verify::material::public_key;
use crate::journal::checkpoint::open_note;
use crate::journal::entry::EntryKind;
use crate::journal::range_export::Preamble;
use crate::journal::receipt::parse_single;

/// The verifier of the whole folder.
const REPLAY: &str = include_str!("../../../docs/replay.py");
const README: &str = include_str!("ARCHIVE.txt");

/// Arguments of `pechat audit archive`.
#[derive(Debug, Args)]
pub struct ArchiveArgs {
    #[command(flatten)]
    export: ExportArgs,
}

/// Downloads, verifies, and says whether the journal can still grow.
pub fn run(args: &ArchiveArgs) -> Result<Verdict, String> {
    if args.export.is_set() || args.export.is_part() {
        return Err("an archive is of one whole journal; name one --journal, without --from and --to".into());
    }
    run_for(&args.export, Purpose::Archive)
}

/// What an archive has beside the files of an audit; gives the notice for the reader.
pub(super) fn add(folder: &Maker<'_>, header: &Preamble) -> Result<Option<String>, String> {
    let note = open_note(&header.proof().checkpoint).map_err(|e| e.to_string())?;
    let spki = public_key(&folder.dir.join(HEAD_KEY))?;
    let signature =
        note.ecdsa(&spki).ok_or("the export's checkpoint is not signed by the journal-head key")?;
    let token = note.token().ok_or("the export's checkpoint holds no token")?;
    folder.write("checkpoint.body", note.body.as_bytes())?;
    folder.write("checkpoint.sig", &signature.payload)?;
    folder.write("token.der", &token.payload)?;
    folder.write("replay.py", REPLAY.as_bytes())?;
    folder.write("README.txt", README.as_bytes())?;
    let last = header.count().saturating_sub(1);
    let receipt = std::fs::read_to_string(folder.dir.join(RECEIPT)).map_err(|e| format!("{RECEIPT}: {e}"))?;
    let entry = parse_single(&receipt).map_err(|e| format!("{RECEIPT}: {e}"))?.entry;
    let frozen = entry.seq == last && entry.kind == EntryKind::Freeze as u16;
    let state = if frozen {
        format!("{}: frozen. Entry {last} is its final record.\n", header.origin())
    } else {
        format!(
            "{}: NOT FROZEN. Entries may follow the {} of this archive.\n",
            header.origin(),
            header.count()
        )
    };
    folder.write("STATE.txt", state.as_bytes())?;
    Ok((!frozen).then(|| format!("NOTICE: {}", state.trim_end())))
}
