package enricher

import "strings"

// bots are the programs that a user agent names and the parser does not flag,
// or names otherwise: tools, crawlers, checkers. The first that is found
// counts, so that the particular stands before the general. Needles are in
// lower case.
var bots = []struct{ needle, name string }{
	{"gptbot", "GPTBot"},
	{"chatgpt-user", "ChatGPT-User"},
	{"oai-searchbot", "OAI-SearchBot"},
	{"claudebot", "ClaudeBot"},
	{"claude-user", "Claude-User"},
	{"claude-web", "Claude-Web"},
	{"anthropic-ai", "anthropic-ai"},
	{"perplexitybot", "PerplexityBot"},
	{"perplexity-user", "Perplexity-User"},
	{"ccbot", "CCBot"},
	{"bytespider", "Bytespider"},
	{"amazonbot", "Amazonbot"},
	{"meta-externalagent", "Meta-ExternalAgent"},
	{"google-inspectiontool", "Google-InspectionTool"},
	{"adsbot-google", "AdsBot-Google"},
	{"mediapartners-google", "Mediapartners-Google"},
	{"feedfetcher-google", "FeedFetcher-Google"},
	{"googlebot", "Googlebot"},
	{"bingbot", "bingbot"},
	{"bingpreview", "BingPreview"},
	{"applebot", "Applebot"},
	{"yandexbot", "YandexBot"},
	{"baiduspider", "Baiduspider"},
	{"duckduckbot", "DuckDuckBot"},
	{"yahoo! slurp", "Yahoo! Slurp"},
	{"petalbot", "PetalBot"},
	{"ahrefsbot", "AhrefsBot"},
	{"semrushbot", "SemrushBot"},
	{"mj12bot", "MJ12bot"},
	{"dotbot", "DotBot"},
	{"facebookexternalhit", "facebookexternalhit"},
	{"twitterbot", "Twitterbot"},
	{"linkedinbot", "LinkedInBot"},
	{"slackbot", "Slackbot"},
	{"discordbot", "Discordbot"},
	{"telegrambot", "TelegramBot"},
	{"pinterestbot", "Pinterestbot"},
	{"ia_archiver", "ia_archiver"},
	{"archive.org_bot", "archive.org_bot"},
	{"uptimerobot", "UptimeRobot"},
	{"pingdom", "Pingdom"},
	{"statuscake", "StatusCake"},
	{"datadogsynthetics", "DatadogSynthetics"},
	{"googlehc", "GoogleHC"},
	{"kube-probe", "kube-probe"},
	{"elb-healthchecker", "ELB-HealthChecker"},
	{"chrome-lighthouse", "Chrome-Lighthouse"},
	{"headlesschrome", "HeadlessChrome"},
	{"phantomjs", "PhantomJS"},
	{"puppeteer", "Puppeteer"},
	{"playwright", "Playwright"},
	{"selenium", "Selenium"},
	{"electron-fetch", "electron-fetch"},
	{"python-requests", "python-requests"},
	{"python-urllib", "Python-urllib"},
	{"python-httpx", "python-httpx"},
	{"aiohttp", "aiohttp"},
	{"scrapy", "Scrapy"},
	{"go-http-client", "Go-http-client"},
	{"curl/", "curl"},
	{"wget/", "Wget"},
	{"libwww-perl", "libwww-perl"},
	{"apache-httpclient", "Apache-HttpClient"},
	{"java-http-client", "Java-http-client"},
	{"node-fetch", "node-fetch"},
	{"axios/", "axios"},
	{"undici", "undici"},
	{"guzzlehttp", "GuzzleHttp"},
	{"ruby", "Ruby"},
	{"postmanruntime", "PostmanRuntime"},
	{"httpie", "HTTPie"},
	{"apachebench", "ApacheBench"},
	{"zgrab", "zgrab"},
	{"masscan", "masscan"},
	{"nmap", "Nmap"},
	{"nikto", "Nikto"},
	{"censysinspect", "CensysInspect"},
}

// findBot looks for a bot in a user agent; version is what follows its name
// and a slash.
func findBot(text string) (name, version string, ok bool) {
	lower := strings.ToLower(text)
	if len(lower) != len(text) {
		lower = text // not ASCII; offsets must agree
	}
	for _, b := range bots {
		i := strings.Index(lower, b.needle)
		if i < 0 {
			continue
		}
		rest := strings.TrimPrefix(text[i+len(strings.TrimSuffix(b.needle, "/")):], "/")
		end := strings.IndexFunc(rest, func(c rune) bool { return (c < '0' || c > '9') && c != '.' })
		if end < 0 {
			end = len(rest)
		}
		return b.name, strings.Trim(rest[:end], "."), true
	}
	for _, word := range []string{"crawler", "spider", "bot/", "bot;", "bot)"} {
		if i := strings.Index(lower, word); i >= 0 && !strings.HasSuffix(lower[:i], "cu") { // Cubot makes telephones
			return wordAt(text, i), "", true
		}
	}
	return "", "", false
}

// wordAt is the whole word that holds text[i].
func wordAt(text string, i int) string {
	const ends = " ;()/,"
	from := strings.LastIndexAny(text[:i], ends) + 1
	to := strings.IndexAny(text[i:], ends)
	if to < 0 {
		return text[from:]
	}
	return text[from : i+to]
}
