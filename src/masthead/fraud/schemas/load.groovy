// Loads the files beside it into a graph that Gremlin speaks to; running it again changes nothing.
//   bin/gremlin.sh -e load.groovy HOST PORT FOLDER         (Neptune: a client of TinkerPop 3.7)
// Neptune's bulk loader reads vertices_*.csv and edges_*.csv itself and is much faster.
import org.apache.tinkerpop.gremlin.driver.Cluster
import org.apache.tinkerpop.gremlin.driver.remote.DriverRemoteConnection
import static org.apache.tinkerpop.gremlin.process.traversal.AnonymousTraversalSource.traversal

// Rows of a CSV file: quoted values may hold commas, quotes (doubled) and line ends.
def rows(File file, Closure each) {
    def header = null, row = [], cell = new StringBuilder(), quoted = false
    def text = file.newReader('UTF-8')
    def close = { row << cell.toString(); cell.setLength(0) }
    def end = { close(); if (header == null) header = row else each([header, row].transpose().collectEntries()); row = [] }
    int c
    while ((c = text.read()) >= 0) {
        char letter = (char) c
        if (letter == (char) '"') {
            if (quoted) { text.mark(1); if (text.read() == (int) '"') cell << '"' else { quoted = false; text.reset() } }
            else quoted = true
        }
        else if (letter == (char) ',' && !quoted) close()
        else if (letter == (char) '\n' && !quoted) end()
        else if (letter != (char) '\r' || quoted) cell << letter
    }
    if (cell.length() || row) end()
    text.close()
}

def (host, port, folder) = args
def cluster = Cluster.build(host).port(port as int).enableSsl(true).create()
def g = traversal().withRemote(DriverRemoteConnection.using(cluster))
def files = new File(folder).listFiles().sort { it.name }

files.findAll { it.name.startsWith('vertices_') }.each { file ->
    rows(file) { row ->
        def values = row.findAll { key, value -> !key.startsWith('~') && value != '' }
                        .collectEntries { key, value -> [key.tokenize(':')[0], key.endsWith(':Double') ? value as double : value] }
        g.mergeV([(T.id): row['~id']]).option(Merge.onCreate, [(T.label): row['~label']] + values).iterate()
    }
}
files.findAll { it.name.startsWith('edges_') }.each { file ->
    rows(file) { row ->
        g.mergeE([(T.id): row['~id'], (T.label): row['~label'], (Direction.from): row['~from'], (Direction.to): row['~to']]).iterate()
    }
}
cluster.close()
