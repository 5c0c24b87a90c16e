//! The sections that hold secrets, as they are written, and how they become identities.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::resolve::Resolver;
use super::{
    CatalogHome, Error, Passfile, Password, Secret, ServerLogin, ServerTls, Servers, SslMode, User,
    UserSecret,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUser {
    name: String,
    secret: Option<Secret>,
    password_file: Option<PathBuf>,
    password_env: Option<String>,
    #[serde(default)]
    pass_through: bool,
    server_user: Option<String>,
    server_password_file: Option<PathBuf>,
    server_password_env: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCatalog {
    host: String,
    #[serde(default = "server_port")]
    port: u16,
    #[serde(default = "postgres")]
    dbname: String,
    #[serde(default = "postgres")]
    user: String,
    password: Option<Secret>,
    password_file: Option<PathBuf>,
    passfile: Option<PathBuf>,
    #[serde(default)]
    sslmode: SslMode,
    sslrootcert: Option<PathBuf>,
    sslcert: Option<PathBuf>,
    sslkey: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawServers {
    user: Option<String>,
    password: Option<Secret>,
    password_file: Option<PathBuf>,
    passfile: Option<PathBuf>,
    sslmode: SslMode,
    sslrootcert: Option<PathBuf>,
    sslcert: Option<PathBuf>,
    sslkey: Option<PathBuf>,
}

fn server_port() -> u16 {
    5432
}

fn postgres() -> String {
    "postgres".to_owned()
}

impl Resolver<'_> {
    /// `login` is for users that say nothing of their own.
    pub(super) fn users(
        &self,
        users: Vec<RawUser>,
        login: &ServerLogin,
    ) -> Result<Vec<User>, Error> {
        let mut resolved: Vec<User> = Vec::new();
        for (number, user) in users.into_iter().enumerate() {
            let number = number.to_string();
            if resolved.iter().any(|known| known.name == user.name) {
                let message = format!("user {} is there twice", user.name);
                return self.refuse(
                    &["users", &number, "name"],
                    message,
                    "remove one of the two",
                );
            }
            resolved.push(self.user(&number, user, login)?);
        }
        Ok(resolved)
    }

    fn user(&self, number: &str, user: RawUser, login: &ServerLogin) -> Result<User, Error> {
        let at = |key: &'static str| ["users", number, key];
        let from_file = self.secret_file(&at("password_file"), user.password_file)?;
        let from_variable = self.secret_variable(&at("password_env"), user.password_env)?;
        let secret = match (user.secret, from_file, from_variable) {
            (None, None, None) => UserSecret::None,
            (None, Some(password), None) | (None, None, Some(password)) => {
                UserSecret::Plain(password)
            }
            (Some(secret), None, None) => match classify(secret) {
                Some(secret) => secret,
                None => {
                    return self.refuse(
                        &at("secret"),
                        format!("the secret of user {} is neither a SCRAM verifier nor an md5 one", user.name),
                        "copy rolpassword from pg_authid (SCRAM-SHA-256$… or md5…); a plain password goes into a file \
                         named by password_file, or into an environment variable named by password_env",
                    );
                }
            },
            _ => {
                return self.refuse(
                    &at("name"),
                    format!("user {} has several secrets", user.name),
                    "keep one of secret, password_file and password_env",
                );
            }
        };
        let server_password = match (
            self.secret_file(&at("server_password_file"), user.server_password_file)?,
            self.secret_variable(&at("server_password_env"), user.server_password_env)?,
        ) {
            (None, None) => None,
            (Some(password), None) | (None, Some(password)) => Some(password),
            (Some(_), Some(_)) => {
                return self.refuse(
                    &at("server_password_env"),
                    format!("user {} has two passwords for the servers", user.name),
                    "keep one of server_password_file and server_password_env",
                );
            }
        };
        let server = match (user.server_user, server_password) {
            (None, None) if user.pass_through => ServerLogin::PassThrough,
            (None, None) => login.clone(),
            _ if user.pass_through => {
                return self.refuse(
                    &at("pass_through"),
                    format!(
                        "user {} passes through and has a login of its own",
                        user.name
                    ),
                    "keep either pass_through or the server_… keys",
                );
            }
            (server_user, password) => ServerLogin::As {
                user: server_user.unwrap_or_else(|| user.name.clone()),
                password: password.map_or(Password::None, Password::Given),
            },
        };
        Ok(User {
            name: user.name,
            secret,
            server,
        })
    }

    pub(super) fn catalog(&self, catalog: RawCatalog) -> Result<CatalogHome, Error> {
        self.positive(&["catalog", "port"], catalog.port.into())?;
        for (key, value) in [
            ("host", &catalog.host),
            ("dbname", &catalog.dbname),
            ("user", &catalog.user),
        ] {
            if value.is_empty() {
                let message = format!("catalog.{key} is empty");
                return self.refuse(
                    &["catalog", key],
                    message,
                    "name the server, database and user that hold the catalog",
                );
            }
        }
        let files = [catalog.sslrootcert, catalog.sslcert, catalog.sslkey];
        Ok(CatalogHome {
            password: self.password(
                "catalog",
                catalog.password,
                catalog.password_file,
                catalog.passfile,
            )?,
            tls: self.server_tls("catalog", catalog.sslmode, files)?,
            host: catalog.host,
            port: catalog.port,
            dbname: catalog.dbname,
            user: catalog.user,
        })
    }

    pub(super) fn servers(&self, servers: RawServers) -> Result<Servers, Error> {
        let password = self.password(
            "servers",
            servers.password,
            servers.password_file,
            servers.passfile,
        )?;
        let login = match servers.user {
            Some(user) => ServerLogin::As {
                user,
                password: password.clone(),
            },
            None => ServerLogin::PassThrough,
        };
        let files = [servers.sslrootcert, servers.sslcert, servers.sslkey];
        Ok(Servers {
            login,
            password,
            tls: self.server_tls("servers", servers.sslmode, files)?,
        })
    }

    fn server_tls(
        &self,
        section: &str,
        mode: SslMode,
        files: [Option<PathBuf>; 3],
    ) -> Result<ServerTls, Error> {
        let [root_cert, cert, key] = files;
        let tls = ServerTls {
            mode,
            root_cert: self.file(&[section, "sslrootcert"], root_cert)?,
            cert: self.file(&[section, "sslcert"], cert)?,
            key: self.file(&[section, "sslkey"], key)?,
        };
        if matches!(mode, SslMode::VerifyCa | SslMode::VerifyFull) && tls.root_cert.is_none() {
            return self.refuse(
                &[section, "sslmode"],
                "verifying a server's certificate needs the authorities to trust",
                format!("add sslrootcert = \"<file>.pem\" to [{section}]"),
            );
        }
        let alone = match (&tls.cert, &tls.key) {
            (Some(_), None) => Some(("sslcert", "sslkey")),
            (None, Some(_)) => Some(("sslkey", "sslcert")),
            _ => None,
        };
        if let Some((present, missing)) = alone {
            return self.refuse(
                &[section, present],
                format!("{section}.{present} needs {section}.{missing}"),
                format!("add {missing} = \"<file>.pem\" to [{section}]"),
            );
        }
        Ok(tls)
    }

    fn password(
        &self,
        section: &str,
        given: Option<Secret>,
        file: Option<PathBuf>,
        passfile: Option<PathBuf>,
    ) -> Result<Password, Error> {
        let file = self.secret_file(&[section, "password_file"], file)?;
        match (given, file, passfile) {
            (None, None, None) => Ok(Password::None),
            (Some(secret), None, None) | (None, Some(secret), None) => Ok(Password::Given(secret)),
            (None, None, Some(path)) => {
                let full = self.folder().join(path);
                match Passfile::read(&full) {
                    Ok(passfile) => Ok(Password::File(Arc::new(passfile))),
                    Err(error) => self.unreadable(&[section, "passfile"], &full, &error),
                }
            }
            _ => self.refuse(
                &[section],
                format!("[{section}] has several passwords"),
                "keep one of password, password_file and passfile",
            ),
        }
    }
}

/// Tells the two kinds of verifier from each other and from anything else.
fn classify(secret: Secret) -> Option<UserSecret> {
    if is_scram_verifier(secret.expose()) {
        return Some(UserSecret::Scram(secret));
    }
    let digits = secret.expose().strip_prefix("md5")?;
    let md5 = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    md5.then_some(UserSecret::Md5(secret))
}

/// `SCRAM-SHA-256$4096:<salt>$<stored key>:<server key>`, the keys 32 bytes in base64.
fn is_scram_verifier(text: &str) -> bool {
    let base64 = |text: &str, length: Option<usize>| {
        !text.is_empty()
            && length.is_none_or(|length| text.len() == length)
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
    };
    let parts = || {
        let (iterations, rest) = text.strip_prefix("SCRAM-SHA-256$")?.split_once(':')?;
        let (salt, keys) = rest.split_once('$')?;
        let (stored, server) = keys.split_once(':')?;
        Some((iterations.parse::<u32>().ok()?, salt, stored, server))
    };
    parts().is_some_and(|(iterations, salt, stored, server)| {
        iterations > 0 && base64(salt, None) && base64(stored, Some(44)) && base64(server, Some(44))
    })
}
