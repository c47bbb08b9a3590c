//! From a name to a folder.

use std::time::Instant;

use super::cache::Repo;
use super::client::{Client, Reply, Trouble};
use super::download::{Remote, download};
use super::files::{self, Listing, plain_etag};
use super::settings::Settings;
use super::url::{Url, escape};
use super::{Fetched, HubName, Part};
use crate::error::{Error, Kind, Result};
use crate::report::Progress;

/// Of the hub's answer about a repository.
const MAX_ANSWER: u64 = 64 << 20;
/// How often a file may change while it is fetched.
const CHANGES: usize = 2;

pub(super) fn fetch(name: &HubName, part: Part, settings: &Settings, progress: &mut Progress) -> Result<Fetched> {
    let repo = Repo::new(settings, name.repo());
    let commit = repo.commit_of(name.revision());
    let cached = commit.clone().filter(|c| files::missing(&repo.snapshot(c), part).is_none());
    let found = |commit: &str| Fetched { folder: repo.snapshot(commit), name: name.at(commit).to_string().into() };
    if settings.offline {
        return cached.map(|c| found(&c)).ok_or_else(|| not_cached(name, part, &repo, commit.as_deref(), settings));
    }
    let client = Client::new(settings)?;
    let job = Job { name, settings, repo: &repo, client: &client };
    let listing = match (job.list(cached.is_some(), progress), &cached) {
        (Ok(listing), _) => listing,
        (Err(trouble), Some(commit)) if trouble.leaves_the_cache() => {
            let error = trouble.about(&name.to_string(), name.repo(), settings);
            progress.warner()(&format!("{}; using commit {commit} from the cache", first_line(&error)));
            return Ok(found(commit));
        }
        (Err(trouble), _) => return Err(trouble.about(&name.to_string(), name.repo(), settings)),
    };
    let named = |error: Error| error.file(name.to_string());
    let folder = repo.snapshot(&listing.commit);
    // The weights come last, so that a folder with weights has everything.
    let small = listing.small(part).map_err(named)?;
    let mut fetched = job.files(&listing, &small, "configuration and tokenizer", progress)?;
    let weights = listing.weights(part, &folder).map_err(named)?;
    fetched += job.files(&listing, &weights, "weights", progress)?;
    match repo.remember(name.revision(), &listing.commit) {
        // A cache that cannot be written is as good, if it has everything.
        Err(_) if fetched == 0 => {}
        remembered => remembered?,
    }
    Ok(found(&listing.commit))
}

struct Job<'j> {
    name: &'j HubName,
    settings: &'j Settings,
    repo: &'j Repo,
    client: &'j Client<'j>,
}

/// A file that is not in the cache under its commit yet.
struct Missing {
    file: String,
    subject: String,
    remote: Remote,
}

impl Job<'_> {
    /// Asks what the revision is. With a copy in the cache there is no point in waiting for a hub that is down.
    fn list(&self, cached: bool, progress: &Progress) -> Result<Listing, Trouble> {
        let (repo, revision) = (self.name.repo(), escape(self.name.revision(), false));
        let url = self.url(&format!("/api/models/{repo}/revision/{revision}?blobs=true"))?;
        let ask = || {
            let reply = self.client.get(&url, 0)?;
            let host = reply.host.clone();
            Listing::parse(&reply.bytes(MAX_ANSWER)?, &host).map_err(Trouble::Final)
        };
        if cached { ask() } else { self.client.patiently(ask, &mut self.teller(progress)) }
    }

    /// Sees to it that these files are in the commit's folder; gives how many had to be fetched or named.
    fn files(&self, listing: &Listing, names: &[String], what: &str, progress: &mut Progress) -> Result<usize> {
        let commit = &listing.commit;
        let mut missing = Vec::new();
        for file in names.iter().filter(|file| !self.repo.snapshot(commit).join(file).is_file()) {
            let subject = format!("{}/{file}", self.name);
            let asked = self.client.patiently(|| self.ask(listing, file), &mut self.teller(progress));
            let remote = asked.map_err(|trouble| self.error(trouble, &subject))?;
            missing.push(Missing { file: file.clone(), subject, remote });
        }
        if missing.is_empty() {
            return Ok(0);
        }
        let (start, all) = (Instant::now(), missing.iter().map(|m| m.remote.size).sum());
        progress.start(&format!("hf:{}: {what}", self.name.repo()));
        let mut before = 0;
        for missing in &missing {
            let mut tell = self.teller(progress);
            let mut done = |bytes: u64| progress.update_bytes(before + bytes, all, &missing.file);
            self.one(listing, missing, &mut done, &mut tell)?;
            before += missing.remote.size;
        }
        progress.finish(false, start.elapsed().as_secs_f64());
        Ok(missing.len())
    }

    /// One file, into the cache and under its name.
    fn one(
        &self,
        listing: &Listing,
        missing: &Missing,
        done: &mut dyn FnMut(u64),
        tell: &mut dyn FnMut(&str),
    ) -> Result<()> {
        let Missing { file, subject, .. } = missing;
        let (mut remote, mut changes) = (missing.remote.clone(), 0);
        let cache = |error| self.error(Trouble::Final(error), subject);
        loop {
            let blob = self.repo.blob(&remote.etag);
            let lock = self.repo.lock(&remote.etag, tell).map_err(cache)?;
            if blob.is_file() {
                return self.repo.name(&listing.commit, file, &remote.etag, false).map_err(cache);
            }
            let part = self.repo.part(&remote.etag).map_err(cache)?;
            match download(self.client, &remote, &part, &blob, done, tell) {
                Ok(()) => return self.repo.name(&listing.commit, file, &remote.etag, true).map_err(cache),
                Err(Trouble::Changed) if changes < CHANGES => changes += 1,
                Err(trouble) => return Err(self.error(trouble, subject)),
            }
            drop(lock);
            remote = self.client.patiently(|| self.ask(listing, file), tell).map_err(|t| self.error(t, subject))?;
        }
    }

    /// Etag and size of a file at the commit.
    fn ask(&self, listing: &Listing, file: &str) -> Result<Remote, Trouble> {
        let (repo, commit) = (self.name.repo(), &listing.commit);
        let url = self.url(&format!("/{repo}/resolve/{commit}/{}", escape(file, true)))?;
        let reply = self.client.head(&url)?;
        let broken = |what: String| {
            let error = Error::new(Kind::Io, format!("{} {what}", reply.host));
            Trouble::Final(error.help("check HF_ENDPOINT: expected is a Hugging Face hub or a mirror of it"))
        };
        if let Some(other) = reply.header("x-repo-commit").filter(|c| c != commit) {
            return Err(broken(format!("answers with commit {other:?}, asked was for {commit}")));
        }
        // The ETag of a storage would be its own.
        let own = || reply.header("etag").filter(|_| reply.by_hub || reply.header("x-repo-commit").is_some());
        let etag = reply.linked_etag.as_deref().or_else(own);
        let etag = etag.ok_or_else(|| broken("gives no ETag of the file".to_owned()))?;
        let etag = plain_etag(etag).ok_or_else(|| broken(format!("gives an ETag that cannot be used: {etag:?}")))?;
        let size = size_of(&reply).or_else(|| listing.size(file));
        let size = size.ok_or_else(|| broken("does not say how many bytes the file has".to_owned()))?;
        files::check_size(file, size).map_err(Trouble::Final)?;
        Ok(Remote { url, etag: etag.to_owned(), size })
    }

    fn url(&self, path: &str) -> Result<Url, Trouble> {
        self.settings.endpoint.below(path).ok_or_else(|| {
            Trouble::Final(Error::config(format!("no address can be made of {} and {path}", self.settings.endpoint)))
        })
    }

    fn teller(&self, progress: &Progress) -> impl FnMut(&str) + use<> {
        let tell = progress.teller();
        let name = self.name.to_string();
        move |what: &str| tell(&format!("{name}: {what}"))
    }

    fn error(&self, trouble: Trouble, subject: &str) -> Error {
        trouble.about(subject, self.name.repo(), self.settings)
    }
}

fn size_of(reply: &Reply) -> Option<u64> {
    let number = |name: &str| reply.header(name).and_then(|n| n.trim().parse().ok());
    number("x-linked-size").or_else(|| if reply.status.is_redirection() { None } else { number("content-length") })
}

fn not_cached(name: &HubName, part: Part, repo: &Repo, commit: Option<&str>, settings: &Settings) -> Error {
    let found = commit.map(|c| (c, repo.snapshot(c))).filter(|(_, folder)| folder.is_dir());
    let what = match found.and_then(|(c, folder)| Some((c.to_owned(), files::missing(&folder, part)?))) {
        Some((commit, file)) => format!("the cache has commit {commit} without {file}"),
        None => "the cache has no such model".to_owned(),
    };
    Error::input(format!(
        "{what} ({}), and HF_HUB_OFFLINE forbids to ask {}",
        settings.cache.display(),
        settings.endpoint.host()
    ))
    .file(name.to_string())
    .help("run once without HF_HUB_OFFLINE (and TRANSFORMERS_OFFLINE), or set HF_HUB_CACHE to a cache that has it")
}

fn first_line(error: &Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
