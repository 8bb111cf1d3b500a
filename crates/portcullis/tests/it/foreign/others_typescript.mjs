// The TypeScript client on tool servers of others behind the gate, in the mode that is named: it can be asked. Prints one
// line.
import { pathToFileURL } from 'node:url';
import { readFileSync } from 'node:fs';

const [place, url, mode] = process.argv.slice(2);
const about = JSON.parse(readFileSync(`${place}/package.json`, 'utf8'));
const entry = about.exports['.'].import?.default ?? about.exports['.'].import ?? about.main;
const { Client, StreamableHTTPClientTransport } = await import(pathToFileURL(`${place}/${entry}`));
const negotiation = mode === 'legacy' ? {} : { versionNegotiation: { mode: mode === 'auto' ? 'auto' : { pin: mode } } };
const client = new Client({ name: 'test', version: '1' }, { ...negotiation, capabilities: { sampling: {} } });
client.setRequestHandler('sampling/createMessage', async () => ({
  role: 'assistant', content: { type: 'text', text: 'sampled' }, model: 'm', stopReason: 'endTurn',
}));
const headers = { Authorization: `Bearer ${process.env.KEY}` };
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
const sum = await client.callTool({ name: 'everything_get-sum', arguments: { a: 20, b: 22 } });
const asks = { name: 'everything_trigger-sampling-request', arguments: { prompt: 'x', maxTokens: 5 } };
const sampled = await client.callTool(asks);
const info = await client.callTool({ name: 'files_get_file_info', arguments: { path: 'known.txt' } });
console.log(sum.content[0].text, sampled.content[0].text.includes('sampled'), info.isError ?? false);
await client.close();
