using System.ComponentModel.DataAnnotations;
using Yarnish.Hosting;
using Xunit;

namespace Yarnish.Tests.Hosting;

public sealed class YarnishConfigurationTests : IDisposable
{
    private readonly string directory = Directory.CreateTempSubdirectory("yarnish-configuration-").FullName;

    public void Dispose() => Directory.Delete(directory, recursive: true);

    private sealed class Options
    {
        public string Address { get; set; } = "none";

        public string Secret { get; set; } = "";

        [Range(1, 64)]
        public int Executors { get; set; } = 2;

        public TimeSpan Patience { get; set; } = TimeSpan.FromSeconds(10);

        public long? MemoryBytes { get; set; }

        public DayOfWeek Day { get; set; }
    }

    [Fact]
    public void Code_beats_arguments_which_beat_the_file()
    {
        File.WriteAllText(Path.Combine(directory, "appsettings.json"), """{"Yarnish":{"Address":"file","Secret":"file","Executors":3}}""");

        var options = YarnishConfiguration.Build(
            ["run", "--Yarnish:Secret", "argument", "--Yarnish:Executors=4", "--other:thing"],
            new Dictionary<string, string?> { ["Yarnish:Executors"] = "5" },
            directory).Bind<Options>();

        Assert.Equal(("file", "argument", 5), (options.Address, options.Secret, options.Executors));
    }

    [Fact]
    public void Defaults_are_those_of_the_options() =>
        Assert.Equal((TimeSpan.FromSeconds(10), (long?)null), (Bound().Patience, Bound().MemoryBytes));

    [Theory]
    [InlineData("2.5", 2.5)]
    [InlineData("00:01:00", 60)]
    public void Times_are_seconds_or_clock_form(string text, double seconds) =>
        Assert.Equal(TimeSpan.FromSeconds(seconds), Bound(("Patience", text)).Patience);

    [Theory]
    [InlineData("Executors", "many", "Yarnish:Executors is 'many', which is not a number in range.")]
    [InlineData("Executors", "99999999999", "Yarnish:Executors is '99999999999', which is not a number in range.")]
    [InlineData("Day", "Someday", "Yarnish:Day is 'Someday', which is not one of Sunday, Monday, Tuesday, Wednesday, Thursday, Friday, Saturday.")]
    [InlineData("Executors", "65", "Yarnish:Executors is '65': The field Executors must be between 1 and 64.")]
    public void A_bad_value_is_told_with_setting_value_and_rule(string name, string value, string message) =>
        Assert.Equal(message, Assert.Throws<ConfigurationException>(() => Bound((name, value))).Message);

    [Fact]
    public void A_misspelt_setting_is_refused_with_the_nearest_name()
    {
        var error = Assert.Throws<ConfigurationException>(() => Configured(("Adress", "x")).RequireKnownSettings(typeof(Options)));

        Assert.Equal("Yarnish:Adress (environment: Yarnish__Adress) is not a setting. Did you mean Yarnish:Address?", error.Message);
    }

    [Fact]
    public void A_setting_like_no_other_is_refused_with_the_list()
    {
        var error = Assert.Throws<ConfigurationException>(() => Configured(("Zebra", "x")).RequireKnownSettings(typeof(Options)));

        Assert.Contains("Known settings: Address, Day, Executors", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Known_settings_pass_in_any_case() => Configured(("ADDRESS", "x")).RequireKnownSettings(typeof(Options));

    [Fact]
    public void A_broken_file_is_one_error_that_names_it()
    {
        File.WriteAllText(Path.Combine(directory, "appsettings.json"), "{ \"Yarnish\": ");

        var error = Assert.Throws<ConfigurationException>(() => YarnishConfiguration.Build([], null, directory));

        Assert.StartsWith($"Cannot read {directory}/appsettings.json: ", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("RabbitMq", "amqp://me:hidden@broker:5672/v", "amqp://me:***@broker:5672/v")]
    [InlineData("Redis", "host:6379,password=hidden,ssl=true", "host:6379,password=***,ssl=true")]
    [InlineData("Secret", "hidden", "***")]
    public void Secrets_are_never_shown(string name, string value, string shown) => Assert.Equal(shown, YarnishConfiguration.Shown(name, value));

    private Options Bound(params (string Name, string Value)[] settings) => Configured(settings).Bind<Options>();

    private Microsoft.Extensions.Configuration.IConfigurationRoot Configured(params (string Name, string Value)[] settings) =>
        YarnishConfiguration.Build([], settings.ToDictionary(pair => "Yarnish:" + pair.Name, pair => (string?)pair.Value), directory);
}
