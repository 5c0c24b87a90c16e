//! Where PostgreSQL's programs are on this machine.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Error;

/// The environment variable that names the folder of PostgreSQL's programs.
const ENVIRONMENT: &str = "PGWEAVE_PG_BIN";

/// Folders of distributions: everything whose name begins with the first part, then the second part.
const USUAL_FOLDERS: &[(&str, &str)] = &[
    ("/usr/lib/postgresql/", "bin"),         // Debian, Ubuntu
    ("/usr/pgsql-", "bin"),                  // packages of postgresql.org for Fedora, RHEL
    ("/usr/lib/postgresql", "bin"),          // SUSE
    ("/usr/libexec/postgresql", ""),         // Alpine
    ("/opt/homebrew/opt/postgresql", "bin"), // Homebrew, Apple silicon
    ("/usr/local/opt/postgresql", "bin"),    // Homebrew, Intel
    ("/home/linuxbrew/.linuxbrew/opt/postgresql", "bin"), // Homebrew, Linux
    ("/Applications/Postgres.app/Contents/Versions/", "bin"), // Postgres.app
    ("/usr/local/pgsql", "bin"),             // built from source
    ("/opt/postgresql/", "bin"),
];

/// A server's version, as in `15.18`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Version {
    /// Reads what `postgres --version` prints: `postgres (PostgreSQL) 15.18 (Debian …)`, `18beta1`, `17devel`.
    fn parse(text: &str) -> Option<Version> {
        let text = text
            .split_whitespace()
            .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
        let digits = |part: &str| part.bytes().take_while(u8::is_ascii_digit).count();
        let (major, rest) = text.split_at(digits(text));
        let rest = rest.strip_prefix('.').unwrap_or("");
        let minor = &rest[..digits(rest)];
        Some(Version {
            major: major.parse().ok()?,
            minor: minor.parse().unwrap_or(0),
        })
    }

    fn supported(self) -> bool {
        (13..=18).contains(&self.major)
    }
}

/// The folder of one PostgreSQL's programs.
#[derive(Debug, Clone)]
pub struct Binaries {
    directory: PathBuf,
    version: Version,
}

impl Binaries {
    /// Looks in `explicit` if given, else in `PGWEAVE_PG_BIN` if set, and nowhere else then. Otherwise in PATH, where
    /// `pg_config` points, and in the distributions' usual folders, the newest version first.
    pub fn find(explicit: Option<&Path>) -> Result<Binaries, Error> {
        if let Some(directory) = explicit {
            return Binaries::at(directory);
        }
        if let Some(directory) = std::env::var_os(ENVIRONMENT).filter(|value| !value.is_empty()) {
            return Binaries::at(Path::new(&directory));
        }
        let candidates = candidates();
        let mut unsupported = None;
        let mut without_backup = None;
        for directory in &candidates {
            match Binaries::at(directory) {
                Ok(found) if found.program("pg_basebackup").is_ok() => return Ok(found),
                Ok(found) => without_backup = without_backup.or(Some(found)),
                Err(error @ Error::UnsupportedVersion { .. }) => {
                    unsupported = unsupported.or(Some(error))
                }
                Err(_) => {}
            }
        }
        without_backup.ok_or_else(|| {
            unsupported.unwrap_or_else(|| Error::BinariesNotFound {
                searched: candidates
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
        })
    }

    /// The programs in one folder; a link to `postgres` there is followed to the folder it comes from.
    pub fn at(directory: &Path) -> Result<Binaries, Error> {
        let missing = || Error::ProgramMissing {
            directory: directory.to_owned(),
            program: "postgres",
        };
        let postgres = directory
            .join("postgres")
            .canonicalize()
            .map_err(|_| missing())?;
        let real = postgres.parent().ok_or_else(missing)?;
        let output = Command::new(&postgres)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .map_err(Error::io(format!("run {}", postgres.display())))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let unsupported = || Error::UnsupportedVersion {
            directory: real.to_owned(),
            version: text.trim().to_owned(),
        };
        let version = Version::parse(&text).ok_or_else(unsupported)?;
        if !version.supported() {
            return Err(unsupported());
        }
        let binaries = Binaries {
            directory: real.to_owned(),
            version,
        };
        binaries.program("initdb")?;
        Ok(binaries)
    }

    pub fn version(&self) -> Version {
        self.version
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The path of one program, checked to be there.
    pub fn program(&self, name: &'static str) -> Result<PathBuf, Error> {
        let path = self.directory.join(name);
        if path.is_file() {
            Ok(path)
        } else {
            Err(Error::ProgramMissing {
                directory: self.directory.clone(),
                program: name,
            })
        }
    }
}

fn candidates() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    if let Some(path) = std::env::var_os("PATH") {
        folders.extend(
            std::env::split_paths(&path).filter(|folder| folder.join("postgres").is_file()),
        );
    }
    folders.extend(pg_config_folder());
    for (beginning, end) in USUAL_FOLDERS {
        folders.extend(folders_that_begin_with(
            Path::new(beginning),
            beginning.ends_with('/'),
            end,
        ));
    }
    let mut seen = std::collections::HashSet::new();
    folders.retain(|folder| seen.insert(folder.clone()));
    folders
}

fn pg_config_folder() -> Option<PathBuf> {
    let output = Command::new("pg_config")
        .arg("--bindir")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let folder = text.trim();
    (output.status.success() && !folder.is_empty()).then(|| PathBuf::from(folder))
}

/// All folders `beginning*` with `end` beneath, the highest version in the name first.
fn folders_that_begin_with(beginning: &Path, whole_folder: bool, end: &str) -> Vec<PathBuf> {
    let (parent, prefix) = if whole_folder {
        (beginning, "")
    } else {
        let prefix = beginning
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or("");
        (beginning.parent().unwrap_or(beginning), prefix)
    };
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let rest = name.strip_prefix(prefix)?;
            let digits: String = rest
                .chars()
                .skip_while(|c| !c.is_ascii_digit())
                .take_while(char::is_ascii_digit)
                .collect();
            let folder = entry.path().join(end);
            folder
                .join("postgres")
                .is_file()
                .then(|| (digits.parse().unwrap_or(0), folder))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, folder)| folder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_the_server_prints() {
        let version = |text| Version::parse(text).map(|version| version.to_string());
        assert_eq!(
            version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"),
            Some("15.18".into())
        );
        assert_eq!(
            version("postgres (PostgreSQL) 18beta1"),
            Some("18.0".into())
        );
        assert_eq!(
            version("postgres (PostgreSQL) 17devel"),
            Some("17.0".into())
        );
        assert_eq!(version("postgres (PostgreSQL) 9.6.24"), Some("9.6".into()));
        assert_eq!(version("bash"), None);
    }

    #[test]
    fn a_folder_without_programs_is_named() {
        let error = Binaries::at(Path::new("/nonexistent")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/nonexistent does not hold the program postgres"
        );
    }

    #[test]
    fn the_newest_of_several_versions_comes_first() {
        let parent = std::env::temp_dir().join(format!("pgweave-folders-{}", std::process::id()));
        for version in ["9", "15", "18"] {
            let folder = parent.join(version).join("bin");
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("postgres"), "").unwrap();
        }
        let found = folders_that_begin_with(&parent, true, "bin");
        std::fs::remove_dir_all(&parent).unwrap();
        let expected: Vec<PathBuf> = ["18", "15", "9"]
            .iter()
            .map(|v| parent.join(v).join("bin"))
            .collect();
        assert_eq!(found, expected);
    }
}
