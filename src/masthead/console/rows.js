// A table of rows, which on a narrow page folds to one card per row.
// Cells and buttons are written here, and not as templates of slots: NiceGUI makes a new component of such a template
// whenever anything on the page changes, so every button would be another one between press and release.
const Cell = {
  template: `
    <a v-if="name === links" :href="row.href" class="mh-link">{{ value }}</a>
    <q-badge v-else-if="name === 'severity' && value !== ''" text-color="white" :style="{background: band[1]}">
      {{ Math.round(value) }} {{ band[2] }}</q-badge>
    <q-badge v-else-if="name === 'state' && value" :color="states[value] || 'grey-8'">{{ value }}</q-badge>
    <template v-else>{{ value }}</template>`,
  props: { name: String, value: [String, Number], row: Object, links: String, severities: Array, states: Object },
  computed: {
    band() {
      return this.severities.find((one) => this.value >= one[0]);
    },
  },
};

const Verbs = {
  template: `
    <q-btn v-for="verb in verbs" :key="verb.text" flat dense round :size="size" :icon="verb.icon"
      :aria-label="verb.text + ' ' + name" @click="$emit('verb', verb.text)"><q-tooltip>{{ verb.text }}</q-tooltip></q-btn>`,
  props: { verbs: Array, name: [String, Number], size: String },
  emits: ["verb"],
};

export default {
  components: { Cell, Verbs },
  template: `
    <q-table flat dense wrap-cells :class="folded ? 'mh-folded' : 'mh-card mh-table'" :grid="folded" :hide-pagination="rows.length <= page"
      :columns="columns" :rows="rows" :row-key="rowKey" v-model:pagination="pagination" :rows-per-page-options="[page]">
      <template #no-data><span class="mh-soft q-py-sm">{{ empty }}</span></template>
      <template #body-cell="cell">
        <q-td :props="cell" :class="{'mh-verbs': cell.col.name === 'actions'}">
          <Verbs v-if="cell.col.name === 'actions'" :verbs="verbs" :name="cell.key" size="sm" @verb="(text) => tell(text, cell.row)" />
          <Cell v-else :name="cell.col.name" :value="cell.value" :row="cell.row" v-bind="drawn" />
        </q-td>
      </template>
      <template #item="item">
        <div class="mh-card mh-row">
          <template v-for="col in item.cols" :key="col.name">
            <div v-if="col.name === 'actions'" class="mh-row-verbs">
              <Verbs :verbs="verbs" :name="item.key" size="md" @verb="(text) => tell(text, item.row)" />
            </div>
            <template v-else-if="col.value !== ''">
              <div class="mh-soft">{{ col.label }}</div>
              <div><Cell :name="col.name" :value="col.value" :row="item.row" v-bind="drawn" /></div>
            </template>
          </template>
        </div>
      </template>
    </q-table>`,
  props: {
    columns: Array,
    rows: Array,
    rowKey: String,
    page: Number,
    empty: String,
    links: String,
    verbs: Array,
    severities: Array,
    states: Object,
  },
  emits: ["row_action"],
  data() {
    return { pagination: { rowsPerPage: this.page } };
  },
  computed: {
    // Two columns fit a phone as they are.
    folded() {
      return this.$q.screen.lt.sm && this.columns.length > 2;
    },
    drawn() {
      return { links: this.links, severities: this.severities, states: this.states };
    },
  },
  methods: {
    tell(text, row) {
      this.$emit("row_action", text, row);
    },
  },
};
