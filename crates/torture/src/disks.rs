//! Disks that are slow, full or broken under the real program: a few lines of C that its libc's calls go through.
//!
//! The program that is tortured is the one that ships; there is no switch in it.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// What is wrong with one disk. The order is that of `shim/disk_faults.c`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DiskFaults {
    pub(crate) slow_ms: u32,
    pub(crate) sync_fails: bool,
    pub(crate) full: bool,
    pub(crate) write_fails: bool,
}

/// The shim, compiled, and the numbers that it looks at.
#[derive(Debug)]
pub(crate) struct Disks {
    library: PathBuf,
    folder: PathBuf,
}

const SOURCE: &str = include_str!("../shim/disk_faults.c");

impl Disks {
    /// Compiles the shim into `folder`.
    pub(crate) fn compile(folder: &Path) -> anyhow::Result<Self> {
        let (source, library) = (folder.join("disk_faults.c"), folder.join("disk_faults.so"));
        std::fs::write(&source, SOURCE)?;
        let compiler = Command::new("cc").args(["-O1", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source).output();
        let compiler = compiler.context("cc cannot be run; without it there are no failing disks: --no-disks")?;
        ensure!(compiler.status.success(), "cc: {}", String::from_utf8_lossy(&compiler.stderr));
        Ok(Self { library, folder: folder.to_owned() })
    }

    fn numbers(&self, node: &str) -> PathBuf {
        self.folder.join(format!("{node}.faults"))
    }

    /// Has a program that is about to be started run on the disk of `node`.
    pub(crate) fn put_under(&self, program: &mut Command, node: &str) -> anyhow::Result<()> {
        if !self.numbers(node).exists() {
            self.set(node, DiskFaults::default())?;
        }
        program.env("LD_PRELOAD", &self.library).env("COVENANT_DISK_FAULTS", self.numbers(node));
        Ok(())
    }

    /// What is wrong from now on.
    pub(crate) fn set(&self, node: &str, faults: DiskFaults) -> anyhow::Result<()> {
        let numbers = [faults.slow_ms, faults.sync_fails.into(), faults.full.into(), faults.write_fails.into()];
        let bytes: Vec<u8> = numbers.iter().flat_map(|number: &u32| number.to_ne_bytes()).collect();
        // Never cut: it is mapped.
        let file = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(self.numbers(node))?;
        Ok(file.write_all_at(&bytes, 0)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes and syncs a file by Python, which goes through libc as our program does.
    fn written(disks: &Disks, path: &Path) -> String {
        let script = "import os,sys\ntry:\n f=os.open(sys.argv[1],os.O_RDWR|os.O_CREAT)\n os.write(f,b'x')\n os.fsync(f)\n print('ok')\n\
                      except OSError as e:\n print(e.errno)";
        let mut program = Command::new("python3");
        program.args(["-c", script]).arg(path);
        disks.put_under(&mut program, "a").unwrap();
        String::from_utf8(program.output().unwrap().stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn a_disk_fails_as_it_is_told_and_only_under_the_ledger() {
        let dir = tempfile::tempdir().unwrap();
        let disks = Disks::compile(dir.path()).unwrap();
        std::fs::create_dir(dir.path().join("ledger")).unwrap();
        let (ledger, other) = (dir.path().join("ledger/file"), dir.path().join("file"));
        assert_eq!((written(&disks, &ledger), written(&disks, &other)), ("ok".to_owned(), "ok".to_owned()));
        let (no_space, io) = ("28".to_owned(), "5".to_owned());
        for (faults, error) in [
            (DiskFaults { full: true, ..DiskFaults::default() }, no_space),
            (DiskFaults { sync_fails: true, ..DiskFaults::default() }, io.clone()),
            (DiskFaults { write_fails: true, ..DiskFaults::default() }, io),
        ] {
            disks.set("a", faults).unwrap();
            assert_eq!((written(&disks, &ledger), written(&disks, &other)), (error, "ok".to_owned()), "{faults:?}");
        }
        disks.set("a", DiskFaults { slow_ms: 300, ..DiskFaults::default() }).unwrap();
        let began = std::time::Instant::now();
        assert_eq!(written(&disks, &ledger), "ok");
        assert!(began.elapsed().as_millis() >= 300, "a sync took its time");
    }
}
