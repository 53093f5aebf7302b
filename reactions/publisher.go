package reactions

import (
	stdsql "database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5/pgxpool"
)

// errNoTenant says that a message does not name the tenant it belongs to.
var errNoTenant = errors.New("a job's message must name its tenant in the metadata " + metadataTenant)

// NewPublisher publishes jobs outside of a projector's transaction. pool's sessions run as archon_worker. Messages name
// their tenant in metadata "tenant_id".
func NewPublisher(pool *pgxpool.Pool, logger watermill.LoggerAdapter) (message.Publisher, error) {
	publisher, err := sql.NewPublisher(sql.BeginnerFromPgx(pool), sql.PublisherConfig{SchemaAdapter: schema{}}, logger)
	if err != nil {
		return nil, fmt.Errorf("make the job publisher: %w", err)
	}
	return publisher, nil
}

// schema tells watermill-sql about the table of our migrations, as far as publishing goes.
type schema struct{}

var _ sql.SchemaAdapter = schema{}

var errSubscribe = errors.New("jobs are taken by reactions.Subscriber")

// InsertQuery implements sql.SchemaAdapter.
func (schema) InsertQuery(params sql.InsertQueryParams) (sql.Query, error) {
	tenants, ids, payloads, metadatas := []string{}, []string{}, [][]byte{}, []string{}
	for _, m := range params.Msgs {
		tenant := m.Metadata.Get(metadataTenant)
		if tenant == "" {
			return sql.Query{}, errNoTenant
		}
		metadata, err := json.Marshal(m.Metadata)
		if err != nil {
			return sql.Query{}, fmt.Errorf("encode a job's metadata: %w", err)
		}
		tenants, ids, payloads, metadatas = append(tenants, tenant), append(ids, m.UUID), append(payloads, m.Payload), append(metadatas, string(metadata))
	}
	return sql.Query{
		Query: `insert into jobs (tenant_id, uuid, topic, payload, metadata)
			select u.tenant_id, u.uuid, $1, coalesce(u.payload, ''), u.metadata
			from unnest($2::text[], $3::uuid[], $4::bytea[], $5::jsonb[]) with ordinality as u(tenant_id, uuid, payload, metadata, i) order by u.i
			on conflict do nothing`,
		Args: []any{params.Topic, tenants, ids, payloads, metadatas},
	}, nil
}

// SelectQuery implements sql.SchemaAdapter.
func (schema) SelectQuery(sql.SelectQueryParams) (sql.Query, error) { return sql.Query{}, errSubscribe }

// UnmarshalMessage implements sql.SchemaAdapter.
func (schema) UnmarshalMessage(sql.UnmarshalMessageParams) (sql.Row, error) {
	return sql.Row{}, errSubscribe
}

// SchemaInitializingQueries implements sql.SchemaAdapter: the schema is that of our migrations.
func (schema) SchemaInitializingQueries(sql.SchemaInitializingQueriesParams) ([]sql.Query, error) {
	return nil, nil
}

// SubscribeIsolationLevel implements sql.SchemaAdapter.
func (schema) SubscribeIsolationLevel() stdsql.IsolationLevel { return stdsql.LevelReadCommitted }
