//! Who may come in: requests under the address that was printed. A page of somebody else, in the same browser, knows no token; if its
//! name leads to this machine (DNS rebinding), its `host` tells; and what changes the file must come from this page itself (`origin`).

use std::hint::black_box;

/// Carries the token in what changes something: no form can set it, and a script elsewhere would have to ask first.
pub(super) const TOKEN_HEADER: &str = "x-mcp-policy-token";

/// What a request is let in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    Show,
    Save,
    Render,
}

/// What is looked at of a request. A header that is there twice is none.
#[derive(Clone, Copy, Debug)]
pub(super) struct DoorRequest<'r> {
    pub(super) method: &'r str,
    pub(super) target: &'r str,
    pub(super) host: Option<&'r str>,
    pub(super) origin: Option<&'r str>,
    pub(super) token: Option<&'r str>,
}

/// What a request has to know.
#[derive(Debug)]
pub(super) struct Door {
    port: u16,
    token: String,
}

impl Door {
    pub(super) fn new(port: u16, token: String) -> Door {
        Door { port, token }
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// The address to open.
    pub(super) fn address(&self) -> String {
        format!("http://127.0.0.1:{}/{}/", self.port, self.token)
    }

    /// Lets a request in.
    ///
    /// # Errors
    /// A status and a sentence.
    pub(super) fn admit(&self, request: &DoorRequest<'_>) -> Result<Errand, (u16, &'static str)> {
        let own = ["127.0.0.1", "localhost"].map(|name| format!("{name}:{}", self.port));
        let Some(host) = request.host.filter(|host| own.iter().any(|own| own == host)) else {
            return Err((421, "this page is for this machine"));
        };
        let target = request.target.strip_prefix('/').and_then(|target| target.split_once('/'));
        let Some((_, place)) = target.filter(|(token, _)| self.is_token(token)) else {
            return Err((
                404,
                "the address has no token, or an old one: see what the command prints",
            ));
        };
        match (request.method, place) {
            ("GET", "") => Ok(Errand::Show),
            ("POST", "save" | "render") => {
                let from_here =
                    request.origin.is_some_and(|origin| origin == format!("http://{host}"));
                let knows = request.token.is_some_and(|token| self.is_token(token));
                let errand = if place == "save" { Errand::Save } else { Errand::Render };
                if from_here && knows { Ok(errand) } else { Err((403, "not from this page")) }
            }
            _ => Err((404, "there is no such thing here")),
        }
    }

    /// Compares as long for every guess.
    fn is_token(&self, guess: &str) -> bool {
        let pairs = self.token.bytes().zip(guess.bytes());
        let differs = pairs.fold(0, |differs, (own, other)| black_box(differs | (own ^ other)));
        guess.len() == self.token.len() && differs == 0
    }
}

#[cfg(test)]
mod tests {
    use super::{Door, DoorRequest, Errand};

    #[test]
    fn only_the_page_itself_comes_in() {
        let door = Door::new(8080, "0123abcd".to_owned());
        let show = DoorRequest {
            method: "GET",
            target: "/0123abcd/",
            host: Some("127.0.0.1:8080"),
            origin: None,
            token: None,
        };
        let save = DoorRequest {
            method: "POST",
            target: "/0123abcd/save",
            origin: Some("http://127.0.0.1:8080"),
            token: Some("0123abcd"),
            ..show
        };
        assert_eq!(door.admit(&show), Ok(Errand::Show));
        assert_eq!(door.admit(&save), Ok(Errand::Save));
        let render = DoorRequest { target: "/0123abcd/render", ..save };
        assert_eq!(door.admit(&render), Ok(Errand::Render));
        let local = Some("localhost:8080");
        let origin = Some("http://localhost:8080");
        assert_eq!(door.admit(&DoorRequest { host: local, origin, ..save }), Ok(Errand::Save));
        for (request, status) in [
            (DoorRequest { host: None, ..show }, 421),
            (DoorRequest { host: Some("evil.example:8080"), ..show }, 421),
            (DoorRequest { host: Some("127.0.0.1"), ..show }, 421),
            (DoorRequest { host: Some("127.0.0.1:8081"), ..show }, 421),
            (DoorRequest { target: "/", ..show }, 404),
            (DoorRequest { target: "/0123abce/", ..show }, 404),
            (DoorRequest { target: "/0123abcd0/", ..show }, 404),
            (DoorRequest { target: "//", ..show }, 404),
            (DoorRequest { target: "/0123abcd/../save", ..show }, 404),
            (DoorRequest { method: "POST", ..show }, 404),
            (DoorRequest { method: "GET", ..save }, 404),
            (DoorRequest { origin: None, ..save }, 403),
            (DoorRequest { origin: Some("null"), ..save }, 403),
            (DoorRequest { origin: Some("http://evil.example"), ..save }, 403),
            (DoorRequest { origin, ..save }, 403),
            (DoorRequest { token: None, ..save }, 403),
            (DoorRequest { token: None, ..render }, 403),
            (DoorRequest { origin: None, ..render }, 403),
            (DoorRequest { method: "GET", ..render }, 404),
            (DoorRequest { token: Some("0123abc"), ..save }, 403),
            (DoorRequest { host: Some("evil.example:8080"), ..save }, 421),
        ] {
            let found = door.admit(&request).map_err(|(status, _)| status);
            assert_eq!(found, Err(status), "{request:?}");
        }
    }
}
