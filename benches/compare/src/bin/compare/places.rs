//! Paths: the package, its target folder, the repository around it.

use std::path::{Path, PathBuf};

use crate::Failure;

pub(crate) struct Places {
    package: PathBuf,
    /// The folder of this program, and of the programs that cargo builds beside it.
    programs: PathBuf,
    target: PathBuf,
}

impl Places {
    pub(crate) fn find() -> Result<Self, Failure> {
        let programs = std::env::current_exe()?.parent().ok_or("this program has no folder")?.to_owned();
        let target = programs.parent().ok_or("this program is not below a target folder")?.to_owned();
        // `cargo run` sets the current folder of the package, which may have moved since the build.
        let package =
            std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), Into::into);
        Ok(Self { package, programs, target })
    }

    pub(crate) fn manifest(&self) -> PathBuf {
        self.package.join("Cargo.toml")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.package.join("Cargo.lock")
    }

    /// The source of a peer in another language.
    pub(crate) fn peer_source(&self, language: &str) -> PathBuf {
        self.package.join("peers").join(language)
    }

    /// Build folder of a peer in another language.
    pub(crate) fn peer_target(&self, language: &str) -> PathBuf {
        self.target.join("peers").join(language)
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    pub(crate) fn record(&self) -> PathBuf {
        self.target.join("compare.json")
    }

    /// The figures of every run.
    pub(crate) fn drafts(&self) -> PathBuf {
        self.target.join("figures")
    }

    /// The figures that `docs/performance.md` shows.
    pub(crate) fn docs(&self) -> PathBuf {
        self.package.join("../../docs")
    }
}
