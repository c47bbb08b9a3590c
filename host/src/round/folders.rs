//! Where the models that a config names are.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::{ModelName, RunConfig, ScoringReference, SlotConfig};
use crate::error::{Error, Result};
use crate::hub;
use crate::report::Progress;

/// One folder for each model.
pub struct Folders {
    pub initial: PathBuf,
    /// `None` if the scoring reference is one of the run's own models.
    pub scoring_reference: Option<PathBuf>,
    /// One for each viewpoint; `None` if its model is one of the run's own.
    pub viewpoints: Vec<Option<PathBuf>>,
    /// Of the slots that are models.
    pub slots: BTreeMap<String, PathBuf>,
    /// The same for `[[sample.from]]`.
    pub sources: Vec<Option<PathBuf>>,
}

impl Folders {
    /// Fetches what is named on the hub. In the config that is given back a revision is a commit, so that the
    /// resolved config of a run means the same models for ever.
    pub fn find(config: &RunConfig, progress: &mut Progress) -> Result<(RunConfig, Folders)> {
        let mut config = config.clone();
        let initial = hub::fetch(&config.model.path, hub::Part::Model, progress)?;
        config.model.path = initial.name;
        let mut folders = Folders {
            initial: initial.folder,
            scoring_reference: None,
            viewpoints: Vec::new(),
            slots: BTreeMap::new(),
            sources: Vec::new(),
        };
        if let ScoringReference::Path(path) = &mut config.model.scoring_reference {
            let reference = hub::fetch(path, hub::Part::Model, progress)?;
            *path = reference.name;
            folders.scoring_reference = Some(reference.folder);
        }
        let mut fetch = |model: &mut ModelName| match model {
            ModelName::Path(path) => {
                let fetched = hub::fetch(path, hub::Part::Model, progress)?;
                *path = fetched.name;
                Ok::<_, Error>(Some(fetched.folder))
            }
            _ => Ok(None),
        };
        folders.viewpoints = config.viewpoints.iter_mut().map(|v| fetch(&mut v.model)).collect::<Result<_>>()?;
        folders.sources = config.sample.from.iter_mut().map(|s| fetch(&mut s.model)).collect::<Result<_>>()?;
        for (name, slot) in &mut config.slots {
            if let SlotConfig::Model(slot) = slot {
                let model = hub::fetch(&slot.model, hub::Part::Model, progress)?;
                slot.model = model.name;
                folders.slots.insert(name.clone(), model.folder);
            }
        }
        Ok((config, folders))
    }
}
