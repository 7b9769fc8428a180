// A context with everything that has a column of its own, and with something that has none.
export const given = () => ({
  ip: '203.0.113.7',
  userAgent: 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
  locale: 'cs-CZ',
  page: { path: '/p', referrer: 'https://search.example/?q=x', search: '?a=1', title: 'Žluťoučký kůň', url: 'https://shop.example/p?a=1' },
  campaign: { name: 'spring', source: 'news', medium: 'mail', term: 'horse', content: 'top' },
  timezone: 'Europe/Prague',
  app: { name: 'shop', version: '1.2.3' },
})

// What its columns hold, and what is left of it.
export const page = () => ({
  columns: {
    ip: '203.0.113.7', locale: 'cs-CZ',
    user_agent: 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
    browser: 'Firefox', browser_version: '140.0', os: 'Linux', os_version: 'x86_64', device_type: 'desktop',
    path: '/p', referrer: 'https://search.example/?q=x', referrer_host: 'search.example', search: '?a=1', title: 'Žluťoučký kůň',
    url: 'https://shop.example/p?a=1', host: 'shop.example',
    utm_campaign: 'spring', utm_source: 'news', utm_medium: 'mail', utm_term: 'horse', utm_content: 'top',
  },
  context: { timezone: 'Europe/Prague', app: { name: 'shop', version: '1.2.3' } },
})
