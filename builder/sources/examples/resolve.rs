use graven_sources::debian::*; use graven_sources::network::*; use graven_sources::store::Store; use std::time::Instant;
fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let network = Network::new(&Access::default()).unwrap();
    let store = Store::new("/tmp/gstore".as_ref());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let native = Architecture::parse("amd64").unwrap();
    let mut universe = Universe::new(native.clone());
    for (n, suite) in ["trixie", "trixie-backports"].iter().enumerate() {
        let t = Instant::now();
        let keyring = Keyring::read("/usr/share/keyrings/debian-archive-keyring.gpg".as_ref()).unwrap();
        let repo = Repository { url: "http://deb.debian.org/debian".into(), suite: suite.to_string(), components: vec!["main".into()], keyring };
        let opened = repo.open(&network, now, None).unwrap_or_else(|e| panic!("{e}"));
        eprintln!("{suite} {} by {} {:?}", opened.release.date, opened.signed_by, t.elapsed());
        let t = Instant::now();
        for index in opened.indexes(&native, &network, &store, &Unwatched).unwrap_or_else(|e| panic!("{e}")) {
            universe.add(Origin { repository: n, suite: suite.to_string(), priority: opened.release.priority }, native.clone(), index);
        }
        eprintln!("index {:?}", t.elapsed());
    }
    let t = Instant::now();
    let install = args.iter().map(|name| Request { name: name.clone(), architecture: None, version: None, suite: None }).collect();
    match solve(&universe, &Wanted { install, ..Wanted::default() }) {
        Ok(all) => for c in all { println!("{}={}", c.record.name, c.record.version) },
        Err(e) => println!("ERROR {e}"),
    }
    eprintln!("solve {:?}", t.elapsed());
}
