using Yarnish.Scheduling;

namespace Yarnish.ResourceManager.Cluster;

/// <summary>What readers (REST, health, metrics) see of the running cluster: replaced as a whole, never changed in place.</summary>
internal sealed class ClusterStatus
{
    private volatile ClusterShell? _shell;
    private volatile string _journalProblem = "The resource manager is starting.";
    private volatile string _brokerProblem = "The resource manager is starting.";
    private volatile string _baseUrl = "";
    private volatile string _queueFileProblem = "";

    /// <summary>The shell that runs, or null while there is none.</summary>
    public ClusterShell? Shell
    {
        get => _shell;
        set => _shell = value;
    }

    /// <summary>The cluster at its latest moment; null before it was recovered.</summary>
    public ClusterSnapshot? Snapshot => _shell?.Snapshot;

    /// <summary>Base URL of this resource manager for agents and drivers; empty until the HTTP server is bound.</summary>
    public string BaseUrl
    {
        get => _baseUrl;
        set => _baseUrl = value;
    }

    /// <summary>What is wrong with the watched queue file as it is now; empty when nothing is.</summary>
    public string QueueFileProblem
    {
        get => _queueFileProblem;
        set => _queueFileProblem = value;
    }

    /// <summary>Why the journal cannot be used; empty when it can.</summary>
    public string JournalProblem
    {
        get => _shell is { } shell ? shell.JournalProblem : _journalProblem;
        set => _journalProblem = value;
    }

    /// <summary>Why the broker cannot be used; empty when it can.</summary>
    public string BrokerProblem
    {
        get => _shell is { BrokerConnected: false } ? "The connection to RabbitMQ is lost; it is being restored." : _brokerProblem;
        set => _brokerProblem = value;
    }

    /// <summary>Whether clients are answered: the state was recovered. A journal or broker that fails later makes it not ready, while answers go on.</summary>
    public bool IsReady => _shell is not null && JournalProblem.Length == 0 && BrokerProblem.Length == 0;

    /// <summary>Messages waiting for the scheduler.</summary>
    public int InboxDepth => _shell?.InboxDepth ?? 0;

    /// <summary>Messages given up.</summary>
    public long DroppedMessages => _shell?.DroppedMessages ?? 0;
}
