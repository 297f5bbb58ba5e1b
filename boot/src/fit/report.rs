//! What verifying a FIT found.

use std::fmt;

/// Every image and configuration of a FIT, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The default configuration.
    pub default: Option<String>,
    /// The images, in the order of the file.
    pub images: Vec<ImageReport>,
    /// The configurations, in the order of the file.
    pub configurations: Vec<ConfigurationReport>,
    /// What is wrong with the FIT as a whole.
    pub problems: Vec<String>,
}

/// An image and its hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageReport {
    /// The image.
    pub name: String,
    /// Algorithms of the hashes that hold, strong or weak.
    pub hashes: Vec<String>,
    /// What is wrong with it.
    pub problems: Vec<String>,
}

/// A configuration and its signatures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigurationReport {
    /// The configuration.
    pub name: String,
    /// Its signature nodes.
    pub signatures: Vec<SignatureReport>,
    /// What is wrong with it, its images included; empty if it holds.
    pub problems: Vec<String>,
}

/// A signature node of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureReport {
    /// The node's name.
    pub node: String,
    /// `algo` and `padding` as they stand there.
    pub algorithm: String,
    /// `key-name-hint`, where it is given.
    pub hint: Option<String>,
    /// Name of the trusted key that made it, or why it proves nothing.
    pub result: Result<String, String>,
}

impl Report {
    /// Whether every image and every configuration holds.
    pub fn holds(&self) -> bool {
        self.problems.is_empty()
            && self.images.iter().all(|image| image.problems.is_empty())
            && self.configurations.iter().all(ConfigurationReport::holds)
    }

    /// The configuration of that name.
    pub fn configuration(&self, name: &str) -> Option<&ConfigurationReport> {
        self.configurations.iter().find(|configuration| configuration.name == name)
    }

    /// The image of that name.
    pub fn image(&self, name: &str) -> Option<&ImageReport> {
        self.images.iter().find(|image| image.name == name)
    }
}

impl ConfigurationReport {
    /// Whether it is signed by a trusted key, and each of its images has the hash that was signed.
    pub fn holds(&self) -> bool {
        self.problems.is_empty() && self.signer().is_some()
    }

    /// Name of the trusted key that signed it.
    pub fn signer(&self) -> Option<&str> {
        self.signatures.iter().find_map(|signature| signature.result.as_deref().ok())
    }
}

impl fmt::Display for Report {
    /// A line an image, a configuration and a problem.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        for image in &self.images {
            match image.problems.as_slice() {
                [] => lines.push(format!("ok        image {:<16} {}", image.name, image.hashes.join(", "))),
                problems => lines.push(format!("BAD       image {:<16} {}", image.name, problems.join("; "))),
            }
        }
        for configuration in &self.configurations {
            let name = &configuration.name;
            match (configuration.holds(), configuration.signer()) {
                (true, Some(signer)) => {
                    lines.push(format!("ok        configuration {name:<8} signed by {signer}"));
                }
                _ => lines
                    .push(format!("BAD       configuration {name:<8} {}", configuration.problems.join("; "))),
            }
        }
        lines.extend(self.problems.iter().map(|problem| format!("BAD       {problem}")));
        f.write_str(&lines.join("\n"))
    }
}
