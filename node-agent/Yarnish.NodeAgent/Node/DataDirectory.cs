using System.Globalization;
using Yarnish.Protocol;

namespace Yarnish.NodeAgent.Node;

/// <summary>
/// The agent's place on disk, its alone while it runs:
/// <code>
/// lock, incarnation, epoch          who holds it, how often it was started, the highest epoch seen
/// run/c-1-7.json .started .exited   the records of live and unacknowledged containers, see launch.sh
/// run/c-1-7.gone                    a note of a container that is over
/// cache/ab/abcd…                    files by SHA-256
/// apps/&lt;app&gt;/blocks/                blocks of an application: they outlive its containers
/// apps/&lt;app&gt;/containers/c-1-7/      working directories, and what each had in hand at its end
/// logs/&lt;app&gt;/c-1-7/stdout …         logs: they outlive the application
/// trash/                            directories that are being deleted
/// </code>
/// </summary>
internal sealed class DataDirectory : IDisposable
{
    private readonly FileStream _lock;

    private DataDirectory(string root, FileStream @lock)
    {
        Root = root;
        _lock = @lock;
    }

    /// <summary>Absolute path.</summary>
    public string Root { get; }

    /// <summary>Records of containers.</summary>
    public string Run => Path.Combine(Root, "run");

    /// <summary>Cached files.</summary>
    public string Cache => Path.Combine(Root, "cache");

    /// <summary>Directories of applications.</summary>
    public string Applications => Path.Combine(Root, "apps");

    /// <summary>Logs of containers.</summary>
    public string Logs => Path.Combine(Root, "logs");

    /// <summary>Everything of one application but its logs.</summary>
    public string Application(ApplicationId application) => Path.Combine(Applications, application.Value);

    /// <summary>Blocks of one application.</summary>
    public string Blocks(ApplicationId application) => Path.Combine(Application(application), "blocks");

    /// <summary>Everything of one container but its logs.</summary>
    public string Container(ApplicationId application, ContainerId container) => Path.Combine(Application(application), "containers", container.Value);

    /// <summary>Working directory of one container.</summary>
    public string Work(ApplicationId application, ContainerId container) => Path.Combine(Container(application, container), "work");

    /// <summary>The <see cref="PostMortemPage"/> of one container.</summary>
    public string PostMortem(ApplicationId application, ContainerId container) => Path.Combine(Container(application, container), "post-mortem");

    /// <summary>Logs of one container.</summary>
    public string ContainerLogs(ApplicationId application, ContainerId container) => Path.Combine(Logs, application.Value, container.Value);

    /// <summary>Makes a directory vanish at once and deletes it then, which may take a while. One that is not there is fine.</summary>
    public void Discard(string path)
    {
        var trash = Path.Combine(Root, "trash", Guid.NewGuid().ToString("N"));
        try
        {
            Directory.Move(path, trash);
        }
        catch (DirectoryNotFoundException)
        {
            return;
        }
        Directory.Delete(trash, recursive: true);
    }

    /// <summary>Marks an application as over: its directory goes, if not now then after the next start.</summary>
    public void MarkEnded(ApplicationId application)
    {
        if (Directory.Exists(Application(application)))
        {
            File.WriteAllText(Path.Combine(Application(application), "ended"), "");
        }
    }

    /// <summary>Applications whose directory is here.</summary>
    public IEnumerable<ApplicationId> HeldApplications() => Directory.EnumerateDirectories(Applications).Select(static path => new ApplicationId(Path.GetFileName(path))).Order();

    /// <summary>Applications marked as over whose directory is still here.</summary>
    public IEnumerable<ApplicationId> EndedApplications() =>
        HeldApplications().Where(application => File.Exists(Path.Combine(Application(application), "ended")));

    /// <summary>The log directory of a container, live or over; null when there is none. Container ids are unique among all applications.</summary>
    public string? FindLogs(ContainerId container) =>
        Directory.EnumerateDirectories(Logs).Select(application => Path.Combine(application, container.Value)).FirstOrDefault(Directory.Exists);

    /// <summary>Deletes what an earlier start left half deleted.</summary>
    public void EmptyTrash()
    {
        foreach (var path in Directory.EnumerateDirectories(Path.Combine(Root, "trash")))
        {
            Directory.Delete(path, recursive: true);
        }
    }

    /// <summary>Opens the directory, creating it when it is missing, and takes its lock.</summary>
    /// <exception cref="AgentStartException">It cannot be written, or another agent holds it.</exception>
    public static DataDirectory Open(string path)
    {
        var root = Path.GetFullPath(path);
        try
        {
            foreach (var part in new[] { "run", "cache", "apps", "logs", "trash" })
            {
                Directory.CreateDirectory(Path.Combine(root, part), UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            }
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new AgentStartException(
                AgentExitCode.Usage,
                $"The data directory {root} cannot be used: {error.Message} Give the agent a directory it may write: --Yarnish:DataDirectory=PATH or Yarnish__DataDirectory.");
        }
        try
        {
            return new DataDirectory(root, new FileStream(Path.Combine(root, "lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None));
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new AgentStartException(
                AgentExitCode.Usage,
                $"The data directory {root} is held by another node agent that runs. Each agent needs its own: --Yarnish:DataDirectory=PATH or Yarnish__DataDirectory.");
        }
    }

    /// <summary>The number of this start: higher than any before, also when the directory was wiped in between (it follows the clock).</summary>
    public long NextIncarnation(DateTimeOffset now)
    {
        var next = Math.Max(ReadNumber("incarnation") + 1, now.ToUnixTimeMilliseconds());
        WriteNumber("incarnation", next);
        return next;
    }

    /// <summary>The highest epoch seen; 0 when none was.</summary>
    public int Epoch
    {
        get => (int)Math.Clamp(ReadNumber("epoch"), 0, int.MaxValue);
        set => WriteNumber("epoch", value);
    }

    /// <inheritdoc/>
    public void Dispose() => _lock.Dispose();

    private long ReadNumber(string name)
    {
        try
        {
            return long.TryParse(File.ReadAllText(Path.Combine(Root, name)).Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : 0;
        }
        catch (FileNotFoundException)
        {
            return 0;
        }
    }

    private void WriteNumber(string name, long number)
    {
        var path = Path.Combine(Root, name);
        File.WriteAllText(path + ".part", number.ToString(CultureInfo.InvariantCulture) + "\n");
        File.Move(path + ".part", path, overwrite: true);
    }
}
